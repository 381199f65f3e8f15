"""Where the config has polygons for a label, an answer is an outline, refined under its own id."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from backend.api.service import Service
from backend.label_studio.annotations import read_annotation
from backend.label_studio.config import parse_config
from backend.label_studio.regions import drawn_mask, parse_result

CONFIG = """<View>
  <TextArea name="status" toName="image" editable="false" smart="false"/>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image" smart="false"><Label value="Dog"/></BrushLabels>
  <PolygonLabels name="poly" toName="image" smart="false">
    <Label value="Cat"/><Label value="Dog"/>
  </PolygonLabels>
  <KeyPointLabels name="kp" toName="image" smart="true">
    <Label value="Cat"/><Label value="Dog"/>
    <Label value="+ last object"/><Label value="- last object"/>
  </KeyPointLabels>
</View>"""


@pytest.fixture
def picture(picture_host: Any) -> str:
    """The address of a picture that can be had."""
    return str(picture_host.add("/data/upload/6/a.png"))


def masks_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in answer["results"][0]["result"] if item["id"] != "status"]


@pytest.mark.parametrize(("label", "kind"), [("Cat", "polygonlabels"), ("Dog", "brushlabels")])
def test_the_label_decides_between_outline_and_mask(
    service: Service, page: Any, picture: str, label: str, kind: str
) -> None:
    # given a config in which one label has polygons alone, the other a brush too
    body = page.request([page.click(1, 30, 40, label=label)], config=CONFIG)
    # when an object is clicked
    items = masks_of(service.predict(body))
    # then it comes as that tool's region
    assert {item["type"] for item in items} == {kind}
    assert {item["value"][kind][0] for item in items} == {label}


def test_an_outline_is_refined_under_its_own_id(service: Service, page: Any, picture: str) -> None:
    # given an outline that was accepted, and saved in a draft
    first = masks_of(service.predict(page.request([page.click(1, 30, 40)], config=CONFIG)))
    saved = datetime.now(UTC) + timedelta(seconds=9)
    draft = {
        "id": 1,
        "user": "ann@example.com",
        "created_at": saved.isoformat(),
        "updated_at": saved.isoformat(),
        "result": first,
    }
    # when the last object is refined
    click = page.click(2, 35, 45, label="+ last object")
    answer = service.predict(page.request([click], config=CONFIG, drafts=[draft]))
    # then the same region is answered, with both clicks and without a hand's edit
    assert masks_of(answer)[0]["id"] == first[0]["id"]
    assert page.status(answer).startswith("2 clicks → Cat")


def cat_of(mask: np.ndarray) -> list[dict[str, Any]]:
    (image,) = parse_config(CONFIG).images
    control, label = next(entry for entry in image.labels if entry[1].value == "Cat")
    drawn = drawn_mask(
        "pc-1", mask, brush=control, to_name="image", label=label, score=0.9, tolerance=0.5
    )
    (region,) = parse_result(drawn.items)
    assert (region.mask() == drawn.mask).all()
    return drawn.items


def test_parts_of_an_outline_are_one_accepted_label() -> None:
    # given an annotation with an object of two parts, as polygons
    mask = np.zeros((60, 80), bool)
    mask[5:25, 5:25], mask[30:50, 40:70] = True, True
    items = cat_of(mask)
    assert [item["id"] for item in items] == ["pc-1", "pc-1~2"]
    raw = {"id": 3, "updated_at": "2026-11-28T10:00:00Z", "result": items}
    # when it is read
    annotation = read_annotation(raw, 7, {"image": "/a.png"}, parse_config(CONFIG))
    # then there is one mask with both parts
    assert annotation is not None
    ((region, packed, area),), left_out = annotation.decode_masks()
    assert (region.id, region.label, left_out) == ("pc-1", "Cat", {})
    assert not (packed.unpack() ^ mask)[1:-1, 1:-1].sum() > 20
    assert abs(area - mask.sum()) < 20


def test_a_part_whose_first_was_deleted_stays_a_label() -> None:
    mask = np.zeros((60, 80), bool)
    mask[5:25, 5:25], mask[30:50, 40:70] = True, True
    (region,) = parse_result(cat_of(mask)[1:])
    assert region.id == "pc-1~2"
    assert region.mask()[10, 10] ^ region.mask()[40, 50]
