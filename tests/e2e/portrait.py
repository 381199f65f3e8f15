"""Makes the documents' pictures of the labeling page: ``python -m tests.e2e.portrait FOLDER``.

A real Label Studio, the backend with the shipped checkpoint, and a real browser, as in the tests.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

from backend.demo.label_studio_server import label_studio
from tests.browser import FLAGS, few_colours
from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import ASTRONAUT, COINS
from tests.e2e.servers import Backend, LabelStudioApi, running
from tests.e2e.studio import Studio

WINDOW = {"width": 1280, "height": 800}
PERSON = "1"


def labeling(studio: Studio, page: AnnotatorPage) -> None:
    """A person, by two clicks."""
    page.open(studio.project(), studio.task(ASTRONAUT))
    page.click(45, 20, PERSON)
    page.click(35, 75, PERSON)


def phrase(studio: Studio, page: AnnotatorPage) -> None:
    """Every coin, by one word."""
    page.open(studio.project(cup="Coin"), studio.task(COINS, cup="Coin"))
    page.say("coins")


def portraits() -> dict[str, bytes]:
    """Each picture by its name, as a PNG file."""
    scenes: tuple[Callable[[Studio, AnnotatorPage], None], ...] = (labeling, phrase)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            label_studio(folder / "label-studio") as server,
            running(Backend(folder / "backend", server.url, server.token)) as backend,
            sync_playwright() as playwright,
        ):
            studio = Studio(server, LabelStudioApi(server), backend)
            chromium = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=FLAGS
            )
            window = chromium.new_page(viewport=WINDOW)
            page = AnnotatorPage(window, server.url, folder)
            page.log_in(server.user, server.password)
            made = {}
            for scene in scenes:
                scene(studio, page)
                window.mouse.move(0, 0)
                window.wait_for_timeout(1_000)
                made[scene.__name__] = few_colours(window.screenshot())
            chromium.close()
    return made


if __name__ == "__main__":
    for title, picture in portraits().items():
        (Path(sys.argv[1]) / f"{title}.png").write_bytes(picture)
