"""A server reads the history when it starts, and starts even if that fails."""

import logging

import pytest
from fastapi import FastAPI

from backend.api.service import Service
from backend.app import warm
from backend.web.board import dashboard_of
from tests.backend.reports import big
from tests.backend.web.scene import KEY


@pytest.fixture
def app(service: Service) -> FastAPI:
    app = FastAPI()
    app.state.service = service
    return app


def test_the_first_page_finds_the_figures_at_hand(
    app: FastAPI, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from backend.reports import cost_frame

    story = big.fill_one(service.database, 40)
    warm(app).join(60)

    monkeypatch.setattr(cost_frame, "read", None)  # would fail
    assert dashboard_of(app).reports.project(KEY).tasks == story.tasks[KEY]


def test_what_cannot_be_read_is_left_to_the_page(
    app: FastAPI,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> None:
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(service.reports, "projects", broken)
    with caplog.at_level(logging.WARNING):
        warm(app).join(60)

    assert "could not be read in advance: the disk is gone" in caplog.text
