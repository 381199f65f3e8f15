"""A backend that dies, and pictures that it cannot have: the annotator goes on, and is told."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import CAT
from tests.e2e.regions import at
from tests.e2e.studio import Studio

CAT_KEY = "2"


class _Pictures(http.server.BaseHTTPRequestHandler):
    """A picture host inside the private network."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(CAT.path.read_bytes())

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


@pytest.fixture
def picture_host() -> Iterator[str]:
    """Address of a picture that the browser may see and the backend may not."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/cat.png"
        server.shutdown()


def test_clicks_outlive_a_killed_backend(studio: Studio, page: AnnotatorPage) -> None:
    # given Auto-Accept, so that only the backend knows the first click, and a first click
    page.open(studio.project(), studio.task(CAT), auto_accept=True)
    page.click(55, 45, CAT_KEY)
    first = page.only()
    # when the backend is killed, which the page is never told, and a click goes nowhere
    studio.backend.kill()
    page.click(60, 75, CAT_KEY, keys=("Control", "Alt"))
    assert page.only().id == first.id
    page.undo()
    # and it is started again
    studio.backend.start()
    page.click(60, 75, CAT_KEY, keys=("Control", "Alt"))
    # then the next click refines the mask from before
    region = page.only()
    assert region.id == first.id
    assert page.status.startswith("2 clicks, 1 negative → Cat")
    assert not at(region.mask, 60, 75)


def test_a_picture_that_cannot_be_read_is_said_in_a_sentence(
    studio: Studio, page: AnnotatorPage, picture_host: str
) -> None:
    # given a picture that the browser shows and the backend may not read
    page.let_in(picture_host)
    task = studio.api.task(studio.project(), picture_host)
    page.open(studio.project(), task)
    # when it is clicked
    page.click(55, 45, CAT_KEY)
    # then there is no mask, and a sentence says why and who can mend it
    assert page.regions() == []
    assert page.status.startswith("The picture's address leads to 127.0.0.1")
    assert "ask the admin" in page.status
    assert page.fits(".pc-bar")
    page.picture("unreadable")
    # and the failure is in the log
    (event,) = studio.backend.events(task)
    assert event["error"] == page.status


def test_a_prompt_that_finds_nothing_is_said_too(studio: Studio, page: AnnotatorPage) -> None:
    # given a picture of a cat
    page.open(studio.project(), studio.task(CAT))
    # when something is said that no word of is known
    page.say("zqxv wkrj")
    # then the annotator reads which words counted for nothing
    assert page.status.startswith("'zqxv wkrj': I don't know these words")
    assert page.regions() == []
