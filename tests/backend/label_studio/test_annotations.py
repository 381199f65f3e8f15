"""Annotations as Label Studio really sent them, and as it might send them."""

from typing import Any

import numpy as np
import pytest

from backend.label_studio import rle
from backend.label_studio.annotations import (
    EMPTY,
    OTHER_SHAPE,
    UNREADABLE,
    Annotation,
    read_annotation,
    read_label_change,
)
from backend.label_studio.config import parse_config
from backend.label_studio.controls import BrushControl, Label
from backend.label_studio.payloads import parse_webhook
from backend.label_studio.regions import drawn_mask, parse_result, saved_masks
from tests.backend.samples.studio import CONFIG, START, Studio, region, square

PICTURE = "/data/upload/1/5c0f86f3-up1.png"


def read(body: dict[str, Any]) -> Any:
    hook = parse_webhook(body)
    return read_label_change(hook, parse_config(hook.label_config))


def the_one(result: list[Any], **changes: Any) -> Annotation:
    raw = {"id": 7, "updated_at": START.isoformat(), "result": result, **changes}
    annotation = read_annotation(raw, 3, {"image": PICTURE}, parse_config(CONFIG))
    assert annotation is not None
    return annotation


def test_a_recorded_annotation_is_read_whole(page: Any) -> None:
    change = read(page.recorded("webhook_ANNOTATION_CREATED_api"))

    (annotation,) = change.annotations
    assert change.project.key == "1.1795380093"
    assert (annotation.id, annotation.task_id, annotation.annotator) == (1, 1, 1)
    assert annotation.updated_at.isoformat() == "2026-11-22T20:43:59.884801+00:00"
    assert annotation.addresses == {"image": PICTURE}
    ((one, mask, area),), left_out = annotation.decode_masks()
    assert (one.id, one.label, one.control) == ("e80239091", "Cat", "brush")
    assert (mask.width, mask.height) == (400, 300)
    assert area == mask.unpack().sum() > 0
    assert left_out == {}


def test_masks_that_take_too_long_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # given as many masks as a request holds, each of the largest picture: hours, in which the
    # labels of others would wait
    annotation = the_one([region(id="a"), region(id="b")])
    for time_limit in ("annotations._DECODING_S", "regions._CLICK_S"):
        monkeypatch.setattr(f"backend.label_studio.{time_limit}", -1.0)

    assert annotation.decode_masks() == ([], {UNREADABLE: 2})
    assert not list(saved_masks(annotation.masks))


def test_clicks_and_phrase_are_no_regions_and_a_box_is_left_out(page: Any) -> None:
    (annotation,) = read(page.recorded("webhook_ANNOTATION_CREATED_ui")).annotations

    assert annotation.masks == ()
    assert annotation.left_out == {OTHER_SHAPE: 1}


def test_recorded_updates_and_deletions(page: Any) -> None:
    (updated,) = read(page.recorded("webhook_ANNOTATION_UPDATED")).annotations
    deleted = read(page.recorded("webhook_ANNOTATIONS_DELETED"))

    assert updated.updated_at.isoformat() == "2026-11-22T20:44:00.114970+00:00"
    assert deleted.gone_annotations == (1,)
    assert deleted.annotations == ()


@pytest.mark.parametrize("name", ["PROJECT_UPDATED", "START_TRAINING", "TASKS_CREATED"])
def test_other_recorded_events_bring_no_label(page: Any, name: str) -> None:
    change = read(page.recorded(f"webhook_{name}"))

    assert (change.annotations, change.gone_annotations, change.gone_tasks) == ((), (), ())
    assert not change.project_gone


def test_lists_of_annotations_find_their_tasks() -> None:
    # given: predictions that were turned into annotations come in one event
    studio = Studio()
    bodies = [studio.submit(n, studio.task(n), [region()]) for n in (1, 2)]
    together = {
        "action": "ANNOTATIONS_CREATED",
        "annotation": [body["annotation"] for body in bodies],
        "task": [body["task"] for body in reversed(bodies)],
        "project": studio.about(),
    }
    # then
    addresses = [one.addresses["image"] for one in read(together).annotations]
    assert addresses == ["/data/upload/6/1.png", "/data/upload/6/2.png"]


def test_what_is_left_out_is_counted_by_its_reason() -> None:
    polygon = {**region("p"), "type": "polygonlabels", "value": {"points": [[1, 2]]}}
    ghost_click = {**region("g"), "value": {"x": 1, "y": 2, "brushlabels": ["Cat"]}}
    ghost_mask = {**region("h"), "type": "keypointlabels", "from_name": "kp"}
    broken = region("b")
    broken["value"]["rle"] = broken["value"]["rle"][:9]
    nameless = {**region("n"), "id": None}
    annotation = the_one(
        [
            region("a"),
            region("e", np.zeros((48, 64), dtype=bool)),
            polygon,
            {**polygon, "id": "q", "type": "rectangle"},
            ghost_click,
            ghost_mask,
            broken,
            nameless,
            "nonsense",
            {"type": "relation", "from_id": "a", "to_id": "e"},
        ]
    )
    decoded, left_out = annotation.decode_masks()

    assert [one.id for one, _, _ in decoded] == ["a"]
    assert left_out == {EMPTY: 2, OTHER_SHAPE: 1, UNREADABLE: 2}


def test_a_skipped_annotation_has_no_regions() -> None:
    annotation = the_one([region()], was_cancelled=True)

    assert annotation.skipped
    assert annotation.decode_masks() == ([], {})


def test_of_a_region_that_comes_twice_the_last_one_counts() -> None:
    annotation = the_one([region("a"), region("a", square(30, 20), "Dog")])

    assert [one.label for one in annotation.regions] == ["Dog"]


def test_a_plain_brush_has_no_label() -> None:
    plain = {**region(), "type": "brush"}
    del plain["value"]["brushlabels"]

    assert [one.label for one in the_one([plain]).regions] == [""]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"id": "seven", "updated_at": START.isoformat()},
        {"id": 7},
        {"id": 7, "updated_at": "yesterday"},
        {"id": -7, "updated_at": START.isoformat()},
    ],
)
def test_nonsense_is_no_annotation(raw: object) -> None:
    assert read_annotation(raw, 3, {}, None) is None


def test_numbers_of_any_size_and_half_results_do_no_harm() -> None:
    huge = region()
    huge["value"]["rle"] = [2**70]
    annotation = the_one([huge, {"value": None}, 3], completed_by={"id": 12})

    assert annotation.annotator == 12
    assert annotation.decode_masks() == ([], {UNREADABLE: 1})


def test_the_digest_names_what_is_said_and_nothing_else() -> None:
    same = the_one([region()], lead_time=3.5, completed_by=1)

    assert the_one([region()], lead_time=9, completed_by={"id": 1, "email": "a@b"}) == same
    assert the_one([region()], ground_truth=True).digest != same.digest
    assert the_one([region(label="Dog")], completed_by=1).digest != same.digest


# -- regions as the page means them


def test_a_turned_page_gives_the_mask_of_the_upright_picture() -> None:
    """Label Studio notes how the page was turned; masks are always those of the upright picture."""
    upright, turned = the_one([region()]), the_one([{**region(), "image_rotation": 90}])

    assert turned.decode_masks() == ([(turned.masks[0], *upright.decode_masks()[0][0][1:])], {})
    assert turned.digest == upright.digest


def two_items(label: str = "Cat") -> list[Any]:
    """A mask of a plain <Brush> and its <Labels>, as the page writes them."""
    mask = {key: value for key, value in region()["value"].items() if key != "brushlabels"}
    drawn = {**region(), "type": "brush", "from_name": "mask", "value": mask}
    named = {**drawn, "type": "labels", "from_name": "tag", "value": {**mask, "labels": [label]}}
    return [drawn, named]


@pytest.mark.parametrize("order", [1, -1])
def test_the_label_may_stand_in_a_second_item_of_the_region(order: int) -> None:
    annotation = the_one(two_items()[::order])

    (one,) = annotation.masks
    assert (one.control, one.type, one.labels) == ("mask", "brush", ("Cat",))


def test_a_mask_is_written_as_it_is_read_with_its_label_in_a_second_item() -> None:
    items = drawn_mask(
        "r1",
        rle.decode(region()["value"]["rle"], 64, 48),
        brush=BrushControl("mask", (Label("Cat"),), labels_control="tag"),
        to_name="image",
        label=Label("Cat"),
        score=0.5,
        tolerance=0.5,
    ).items

    assert [(item["from_name"], item["type"]) for item in items] == [
        ("mask", "brush"),
        ("tag", "labels"),
    ]
    (one,) = parse_result(items)
    assert (one.label, one.rle) == ("Cat", region()["value"]["rle"])


def test_what_a_ghost_is_labelled_does_not_label_the_region() -> None:
    """With "keep label selected" the page adds each region under the other tool, too."""
    ghost = {**region(), "type": "keypointlabels", "from_name": "kp"}
    ghost["value"] = {"rle": ghost["value"]["rle"], "keypointlabels": ["Dog"]}

    (one,) = parse_result([ghost, region()])
    assert (one.control, one.labels) == ("brush", ("Cat",))


def test_a_region_may_have_several_labels_and_the_first_known_one_counts() -> None:
    several = region()
    several["value"]["brushlabels"] = ["Blurred", " d ", "Cat", "Cat", "", None]

    (one,) = the_one([several]).masks
    assert parse_result([several])[0].labels == ("Blurred", "d", "Cat")
    assert one.labels == ("d", "Cat", "Blurred")


def test_labels_of_two_controls_are_one_region_with_both() -> None:
    second = {**region(label="Wet"), "from_name": "state"}

    (one,) = the_one([region(), second]).masks
    assert (one.control, one.labels) == ("brush", ("Cat", "Wet"))


@pytest.mark.parametrize("order", [1, -1])
def test_a_mask_with_a_rectangle_of_the_same_region_is_a_mask(order: int) -> None:
    box = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 30, "rectanglelabels": ["Wet"]}
    rectangle = {**region(), "from_name": "box", "type": "rectanglelabels", "value": box}

    annotation = the_one([region(), rectangle][::order])

    ((one, mask, _),), left_out = annotation.decode_masks()
    assert (one.control, set(one.labels), left_out) == ("brush", {"Cat", "Wet"}, {})
    assert one.label == "Cat"
    assert (mask.unpack() == the_one([region()]).masks[0].mask()).all()


def test_a_rectangle_that_holds_its_mask_is_a_mask() -> None:
    box = {"x": 10, "y": 10, "width": 20, "height": 20, "rotation": 30, "rectanglelabels": ["Wet"]}
    rectangle = {**region(), "from_name": "box", "type": "rectanglelabels"}
    rectangle["value"] = {**box, "format": "rle", "rle": region()["value"]["rle"]}
    ghost = {**rectangle, "id": region()["id"]}

    ((alone, mask, _),), left_out = the_one([rectangle]).decode_masks()
    ((twin, *_),), _ = the_one([ghost, region()]).decode_masks()

    assert (alone.labels, left_out) == (("Wet",), {})
    assert (mask.unpack() == the_one([region()]).masks[0].mask()).all()
    assert (twin.control, twin.labels) == ("brush", ("Cat",))


@pytest.mark.parametrize("turned", [0, 90])
def test_a_polygon_is_a_mask_in_percent_of_the_upright_picture(turned: int) -> None:
    points = [[25, 25], [75, 25], [75, 75], [25, 75]]
    value = {"points": points, "closed": True, "polygonlabels": ["Cat"]}
    outline = {**region(), "type": "polygonlabels", "value": value, "image_rotation": turned}

    ((one, mask, area),), _ = the_one([outline]).decode_masks()

    assert one.label == "Cat"
    assert area == 24 * 32
    assert mask.unpack()[12:36, 16:48].all()


@pytest.mark.parametrize(
    ("side", "read_as"),
    [
        *((48, 48), (48.0, 48), ("48", 48), (" 48.0 ", 48)),
        *((48.5, None), ("48px", None), (0, None), (1e9, None), (True, None), (None, None)),
    ],
)
def test_sizes(side: object, read_as: int | None) -> None:
    assert parse_result([{**region(), "original_height": side}])[0].height == read_as


@pytest.mark.parametrize(
    ("raw", "read_as"),
    [("r", "r"), (7, "7"), (7.0, "7"), ("a\ud83d", "a?"), (True, ""), (None, "")],
)
def test_ids_of_regions(raw: object, read_as: str) -> None:
    assert parse_result([{**region(), "id": raw}])[0].id == read_as


def test_strokes_of_a_draft_stay_with_their_region() -> None:
    stroke = {"type": "add", "relativePoints": [1, 2]}
    painted = {**region(), "value": {"touches": [stroke], "brushlabels": ["Cat"]}}

    (one,) = parse_result([painted])
    assert (one.shape, one.has_mask, list(one.touches)) == ("brush", True, [stroke])
    assert the_one([painted]).decode_masks() == ([], {EMPTY: 1}), "a stroke without a width"
