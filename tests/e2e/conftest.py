"""One Label Studio, one backend and one browser for all end-to-end tests; a fresh task for each.

Everything is as a user has it: Label Studio from its own environment, ``phraseclick serve`` with
the shipped checkpoint, the shipped labeling configs, Chromium. Screenshots stay in tests/artefacts.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.e2e.annotator_page import AnnotatorPage
from tests.e2e.servers import REPOSITORY
from tests.e2e.studio import Studio, running_studio

ARTEFACTS = REPOSITORY / "tests" / "artefacts"
WINDOW = (1280, 800)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are slow; a first start of Label Studio can take minutes."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """Label Studio and the backend, fresh, on free ports, in temporary folders."""
    with running_studio(tmp_path_factory.mktemp("e2e")) as studio:
        yield studio


@pytest.fixture(scope="module")
def logged_in(studio: Studio, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cookies of the annotator, so that one test of a file spends its time on logging in."""
    context = browser.new_context()
    page = AnnotatorPage(context.new_page(), studio.server.url, ARTEFACTS)
    page.log_in(studio.server.user, studio.server.password)
    cookies = tmp_path_factory.mktemp("browser") / "cookies.json"
    context.storage_state(path=cookies)
    context.close()
    return cookies


@pytest.fixture
def new_page(
    studio: Studio, browser: Browser, request: pytest.FixtureRequest
) -> Iterator[Callable[..., AnnotatorPage]]:
    """Another annotator's browser window: ``new_page(window=(w, h), cookies=path)``."""
    studio.backend.ensure()
    pages: list[AnnotatorPage] = []
    contexts: list[BrowserContext] = []
    folder = ARTEFACTS / re.sub(r"\W+", "_", request.node.name).strip("_")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def open_window(
        *, window: tuple[int, int] = WINDOW, cookies: Path | None = None
    ) -> AnnotatorPage:
        size = {"width": window[0], "height": window[1]}
        contexts.append(browser.new_context(viewport=size, storage_state=cookies))  # type: ignore[arg-type]
        pages.append(AnnotatorPage(contexts[-1].new_page(), studio.server.url, folder))
        return pages[-1]

    yield open_window
    for page in pages:
        page.picture("end")
    complaints = [complaint for page in pages for complaint in page.complaints]
    for context in contexts:
        context.close()
    assert not complaints, f"the page objected: {complaints}"


@pytest.fixture
def page(new_page: Callable[..., AnnotatorPage], logged_in: Path) -> AnnotatorPage:
    """The annotator's browser window."""
    return new_page(cookies=logged_in)
