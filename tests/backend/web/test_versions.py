"""What the pages of versions show of the gate."""

from collections.abc import Callable

from starlette.testclient import TestClient

from tests.backend.web import scene
from tests.backend.web.conftest import Page
from tests.backend.web.scene import Scene


def test_a_gate_is_shown_with_its_figures_and_pictures(
    browse: TestClient, filled: Scene, version: Callable[..., str]
) -> None:
    name = version(1, gate=scene.gate())

    page = Page(browse.get(f"/dashboard/versions/{name}").text)

    assert "Passed." in page.words
    assert "Interactions to 85 %" in page.words
    assert "clicks 2.10 3.40 −1.30 −1.57 to −1.03 better" in page.words
    assert "Better than the champion" in page.words
    pictures = [image["src"] for image in page.all("img")]
    assert len(pictures) == 2
    assert browse.get(pictures[0]).headers["content-type"] == "image/jpeg"
    assert (
        browse.get(f"/dashboard/versions/{name}/examples/..%2F..%2Fphraseclick.db").status_code
        == 404
    )


def test_two_versions_side_by_side(
    browse: TestClient, filled: Scene, version: Callable[..., str]
) -> None:
    one, other = version(1), version(2, gate=scene.gate(passed=False))

    page = Page(browse.get(f"/dashboard/versions/compare?one={one}&other={other}").text)

    assert "noc 3.9 3.8 −0.100" in page.words
    assert "Labels 20 40" in page.words
    assert "Much worse on the general set." in page.words
