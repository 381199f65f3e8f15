"""Images of an object's steps: the right pixels, and a plain background without a photograph."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import delete, insert, update
from starlette.testclient import TestClient

from backend.api.service import Service
from backend.db.models import AnnotatedPictureRow, SampleRow, ServedMaskRow
from backend.web.board import dashboard_of
from backend.web.mask_images import MaskImages
from tests.backend.conftest import photograph
from tests.backend.web import scene
from tests.backend.web.conftest import Page
from tests.backend.web.scene import ANNOTATION, KEY, TASK, Scene


def _picture(browse: TestClient, address: str) -> np.ndarray:
    answer = browse.get(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert len(answer.content) < 80_000
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def _addresses(browse: TestClient) -> list[str]:
    page = Page(browse.get(f"/dashboard/projects/{KEY}/tasks/{TASK}").text)
    return [image["src"] for image in page.all("img")]


def test_each_step_has_its_picture(browse: TestClient, filled: Scene) -> None:
    addresses = _addresses(browse)

    assert len(addresses) == 4
    assert addresses[-1].endswith("accepted.jpg")
    shown = [_picture(browse, address) for address in addresses]
    assert all(picture.shape == shown[0].shape for picture in shown), "one part for all"
    blue = [_share_of_blue(picture, shown) for picture in shown]
    # Discs of radius 30, 130, 95 and, as submitted, 90.
    assert blue[0] < blue[3] < blue[2] < blue[1]


def _share_of_blue(picture: np.ndarray, everything: list[np.ndarray]) -> float:
    """The share of pixels that are bluer than the least blue picture at the same place."""
    blueness = [pixels[..., 2] - pixels[..., 0] for pixels in everything]
    return float((picture[..., 2] - picture[..., 0] - np.min(blueness, axis=0) > 30).mean())


def test_a_click_is_a_dot_in_its_colour(browse: TestClient, filled: Scene) -> None:
    _, more, less, _ = (_picture(browse, address) for address in _addresses(browse))

    def near(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((np.abs(picture - np.array(colour)).sum(axis=2) < 60).sum())

    green, red = (12, 138, 69), (207, 45, 39)
    # The photograph has some of both colours by itself.
    assert near(more, green) > near(less, green) + 150
    assert near(less, red) > near(more, red) + 150


def test_without_the_photograph_masks_stand_on_plain_ground(
    browse: TestClient, service: Service
) -> None:
    scene.fill(service, None)

    page = Page(browse.get(f"/dashboard/projects/{KEY}/tasks/{TASK}").text)
    picture = _picture(browse, _addresses(browse)[0])

    assert "The photograph is no longer in the image cache" in page.words
    assert np.abs(picture[0, 0] - 125).max() < 6


def test_expired_masks_are_reported(browse: TestClient, service: Service, filled: Scene) -> None:
    with service.database.write() as connection:
        connection.execute(delete(ServedMaskRow))

    page = Page(browse.get(f"/dashboard/projects/{KEY}/tasks/{TASK}").text)
    gone = browse.get(
        f"/dashboard/projects/{KEY}/masks/{ANNOTATION}/region%2F9%20%3Ci%3E/{filled.events[0]}.jpg"
    )

    assert "expired (after 90 days)" in page.words
    assert len(page.all("img")) == 1, "the submitted mask is there still"
    assert gone.status_code == 404


@pytest.mark.parametrize("event", ["0", "x", "99999999999999999999"])
def test_a_step_that_is_none(browse: TestClient, filled: Scene, event: str) -> None:
    answer = browse.get(f"/dashboard/projects/{KEY}/masks/{ANNOTATION}/r/{event}.jpg")

    assert answer.status_code == 404


def test_an_edited_mask_is_drawn_again(browse: TestClient, service: Service, filled: Scene) -> None:
    address = _addresses(browse)[-1]
    before = _picture(browse, address)
    with service.database.write() as connection:
        here = SampleRow.annotation_id == ANNOTATION
        connection.execute(update(SampleRow).where(here).values(mask=scene.disc(40).data))
    after = _picture(browse, address)

    assert np.abs(after - before).max() > 30


def test_of_several_images_of_a_task_that_of_the_region_is_shown(
    browse: TestClient, service: Service, filled: Scene
) -> None:
    address = _addresses(browse)[-1]
    before = _picture(browse, address)
    # given another image of the same size, which the labeling config names first
    other = photograph((scene.WIDTH, scene.HEIGHT), seed=4)
    key = hashlib.sha256(other).hexdigest()
    service.pictures._cache.keep(key, other)
    with service.database.write() as connection:
        row = {"project": KEY, "annotation_id": ANNOTATION, "image": "a", "address": "/data/b.png"}
        connection.execute(insert(AnnotatedPictureRow).values(**row, state="good", key=key))
    # when the region's mask is drawn by a server that has not drawn it yet
    dashboard_of(browse.app).masks = MaskImages(service.database, service.pictures)

    assert np.abs(_picture(browse, address) - before).max() == 0
