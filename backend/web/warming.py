"""Reads the history once when a server starts, so that the first page is as quick as the next.

100,000 interactions take a second to read and are kept from then on. In the background: a click
that comes meanwhile is answered.
"""

import logging
import threading

from fastapi import FastAPI

from backend.web.board import Dashboard, dashboard_of

_log = logging.getLogger(__name__)


def warm(app: FastAPI) -> threading.Thread:
    """Begin to; the thread that does it."""
    thread = threading.Thread(target=_read, args=(dashboard_of(app),), name="warming", daemon=True)
    thread.start()
    return thread


def _read(board: Dashboard) -> None:
    try:
        board.render.compile()
        known = board.reports.projects()
    except Exception as error:  # whatever it is, the page that needs it will say so
        _log.warning("The dashboard's figures could not be read ahead: %s", error)
    else:
        _log.info("The dashboard has the figures of %d projects at hand.", len(known))
