"""Puts the dashboard into the server: its pages, its files, a way there from the bare address."""

from fastapi import FastAPI, Request, Response
from fastapi.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from backend.web import health, overview, project, replays, tasks, training, versions
from backend.web.board import NOWHERE, Board, router
from backend.web.rendering import STATIC, prefix

_beyond = router()


def add_dashboard(app: FastAPI) -> None:
    """Everything under ``/dashboard``. Guarded like the rest, by what is around the application."""

    @app.get("/", include_in_schema=False)
    def front_door(request: Request) -> Response:
        return RedirectResponse(prefix(request), 307)

    app.mount("/dashboard/static", StaticFiles(directory=STATIC), name="static")
    for part in (overview, project, replays, tasks, training, versions, health):
        app.include_router(part.pages)
    # Last: what none of them knows.
    app.include_router(_beyond)


@_beyond.get("/{rest:path}")
def nowhere(request: Request, board: Board) -> Response:
    """A page for what is not there."""
    return board.render.page(request, "error.html", status=404, sentence=NOWHERE)
