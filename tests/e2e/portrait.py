"""Makes the documents' pictures of the labeling page: ``python -m tests.e2e.portrait FOLDER``.

A real Label Studio, the backend with the shipped checkpoint, and a real browser, as in the tests.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.browser import chromium, few_colours
from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.photographs import ASTRONAUT, COINS
from tests.e2e.studio import Studio, running_studio

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
        with running_studio(folder) as studio, chromium() as browser:
            window = browser.new_page(viewport=WINDOW)
            page = AnnotatorPage(window, studio.server.url, folder)
            page.log_in(studio.server.user, studio.server.password)
            made = {}
            for scene in scenes:
                scene(studio, page)
                window.mouse.move(0, 0)
                window.wait_for_timeout(1_000)
                made[scene.__name__] = few_colours(window.screenshot())
    return made


if __name__ == "__main__":
    for title, picture in portraits().items():
        (Path(sys.argv[1]) / f"{title}.png").write_bytes(picture)
