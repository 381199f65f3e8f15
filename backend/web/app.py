"""Mounts the dashboard: its pages, its files, and a redirect from the bare address."""

import logging
import threading

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from backend.api.static_files import StaticFiles
from backend.web import costs, health, projects, training, versions
from backend.web.board import NOT_FOUND, Board, Dashboard, dashboard_of, router
from backend.web.rendering import STATIC, prefix

_log = logging.getLogger(__name__)

_fallback = router()


def add_dashboard(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def home(request: Request) -> Response:
        return RedirectResponse(prefix(request), 307)

    app.mount("/dashboard/static", StaticFiles(*STATIC), name="static")
    for part in (projects, costs, training, versions, health):
        app.include_router(part.pages)
    # Last, for all other addresses.
    app.include_router(_fallback)


@_fallback.get("/{rest:path}")
def not_found(request: Request, board: Board) -> Response:
    return board.render.page(request, "error.html", status=404, sentence=NOT_FOUND)


def warm(app: FastAPI) -> threading.Thread:
    """Read the history in the background, so that the first page is as quick as the next.

    100,000 interactions take a second to read and stay in memory. Clicks are answered meanwhile.
    """
    thread = threading.Thread(target=_read, args=(dashboard_of(app),), name="warming", daemon=True)
    thread.start()
    return thread


def _read(board: Dashboard) -> None:
    try:
        board.render.compile()
        known = board.reports.projects()
    except Exception as error:  # the page that needs it will report it
        _log.warning("The dashboard's figures could not be read in advance: %s", error)
    else:
        _log.info("The dashboard has read the figures of %d projects.", len(known))
