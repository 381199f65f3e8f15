"""The way of a click can be read: a further click passes few files."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from starlette.testclient import TestClient

import backend
from backend.api.service import Service
from backend.app import create_app
from backend.settings import Settings

BACKEND = str(Path(backend.__file__).parent)


@pytest.fixture
def passed() -> Iterator[set[str]]:
    """Files of the backend with functions that run, in threads that start from now on."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and file.startswith(BACKEND):
            files.add(file.removeprefix(BACKEND))

    threading.setprofile(note)
    yield files
    threading.setprofile(None)


@pytest.mark.parametrize("saved", [False, True], ids=["at once", "after a draft was saved"])
def test_a_further_click_passes_at_most_twenty_files(
    saved: bool,
    service: Service,
    settings: Settings,
    page: Any,
    picture_host: Any,
    passed: set[str],
) -> None:
    # given a click that was answered, and perhaps the page's draft with its mask
    picture_host.add("/data/upload/6/a.png")
    clicks = [page.click(1, 30, 40), page.click(2, 35, 45)]
    with TestClient(create_app(settings, service)) as client:
        first = client.post("/predict", json=page.request(clicks[:1])).json()
        later = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        draft = {"id": 1, "user": "ann@example.org", "created_at": later, "updated_at": later}
        drafts = [{**draft, "result": [page.region(first)]}] if saved else []
        passed.clear()
        # when a further one comes
        answer = client.post("/predict", json=page.request(clicks, drafts=drafts))
        files = sorted(passed)
    # then it is answered
    assert page.status(answer.json()).startswith("2 clicks → Cat")
    assert "/interaction/click.py" in files
    assert len(files) <= 20, files
