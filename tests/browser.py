"""One Chromium for all tests of a file.

Its driver cannot be started twice, and while it is there no other test in the process may run an
event loop of its own: so it ends with the file.
"""

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

# Without first-run pages, for a machine without a screen or graphics card.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium with a fresh profile."""
    program = shutil.which("chromium")
    assert program, (
        "Chromium is not installed: run 'make test' as root, or apt-get install chromium"
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a file."""
    with chromium() as running:
        yield running


def few_colours(screenshot: bytes, colours: int = 255) -> bytes:
    """The PNG file with so few colours that it has a third of the bytes."""
    picture = Image.open(io.BytesIO(screenshot)).convert("RGB")
    stream = io.BytesIO()
    picture.quantize(colours, kmeans=2, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
    return stream.getvalue()
