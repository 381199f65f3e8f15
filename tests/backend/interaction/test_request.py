"""What an interactive request says: clicks, a phrase, and what drafts and annotations show."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import RequestError
from backend.interaction.request import Interaction
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import parse_predict
from tests.backend.label_studio.test_payloads import JSON, asked, payload

NOW = datetime(2026, 11, 22, 23, tzinfo=UTC)


def read(body):
    request = parse_predict(body)
    return Interaction.read(request, parse_config(request.label_config), NOW)


def click(**changes):
    item = {
        "id": "k1",
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "value": {"x": 30, "y": 40, "keypointlabels": ["Cat"]},
        "is_positive": True,
    }
    return {**item, **changes}


@pytest.mark.parametrize(
    ("name", "labels", "phrase"),
    [
        ("page_predict_click_negative_alone_ctrl_alt", ["Cat"], None),
        ("page_predict_click_pseudo_brush_item_keep_label_on", ["Cat"], None),
        ("page_predict_click_single", ["Cat"], None),
        ("page_predict_click_two_same_label_autoaccept_off", ["Cat"] * 2, None),
        ("page_predict_draft_has_stale_choice", ["Cat"], None),
        ("page_predict_empty_after_submit_with_annotation", [], None),
        ("page_predict_exif6_upright", ["Cat"], None),
        ("page_predict_new_object_label", ["New object"], None),
        ("page_predict_phrase_edited_same_id", [], "two cats"),
        ("page_predict_phrase_second_new_id", [], "a dog"),
        ("page_predict_phrase_with_status_textarea", [], "the red cat"),
        ("page_predict_positive_positive_negative", ["Cat"] * 3, None),
        ("page_predict_refine_label_plus_last_object", ["+ last object"], None),
        ("page_predict_second_keypoint_control_refine", ["add to last"], None),
        ("predict_interactive_api", ["Cat"], None),
        ("predict_interactive_ui_empty_after_submit", [], None),
        ("predict_interactive_ui_keypoint_after_text_draft", ["Cat"] * 5, None),
        ("predict_interactive_ui_keypoints_pos_neg", ["Cat"] * 4, None),
        ("predict_interactive_ui_rect", ["Cat"], None),
        ("predict_interactive_ui_textarea", [], "the red cat"),
    ],
)
def test_every_recorded_interaction_is_understood(name, labels, phrase):
    interaction = read(payload(name))
    assert [c.label for c in interaction.clicks] == labels
    assert (interaction.phrase.text if interaction.phrase else None) == phrase
    assert interaction.task_id == payload(name)["tasks"][0]["id"]


def test_signs_places_and_size_of_a_recorded_click():
    interaction = read(payload("page_predict_positive_positive_negative"))
    assert [c.positive for c in interaction.clicks] == [True, True, False]
    last = interaction.clicks[-1]
    assert (last.x_percent, last.y_percent) == (33.90875462392109, 45.31442663378546)
    assert interaction.size == (640, 480)
    assert read(payload("page_predict_exif6_upright")).size == (480, 640)


def test_a_restored_key_point_has_no_sign():
    clicks = read(payload("predict_interactive_ui_keypoints_pos_neg")).clicks
    assert [c.positive if c.signed else None for c in clicks] == [None, True, False, True]


def test_ghosts_in_drafts_are_neither_clicks_nor_regions_twice():
    (draft,) = read(payload("page_predict_click_pseudo_brush_item_keep_label_on")).saved
    assert list(draft.regions) == ["e00041"]
    assert list(draft.clicks) == ["tS813KporA"]


def test_what_drafts_and_annotations_show():
    interaction = read(payload("page_predict_phrase_with_status_textarea"))
    (draft,) = interaction.saved
    assert interaction.user == draft.user == "admin@example.com"
    assert {r.id: r.label for r in draft.regions.values()} == {"e00004": "Cat", "e00005": "Dog"}
    assert draft.phrases == {"rVMXksOfC6": "the red cat"}
    assert draft.updated_at == datetime(2026, 11, 22, 21, 53, 45, 218188, tzinfo=UTC)
    (annotation,) = read(payload("page_predict_empty_after_submit_with_annotation")).saved
    assert (annotation.kind, annotation.id, annotation.user) == ("annotation", 24, "")
    assert list(annotation.regions) == ["e00004", "e00005", "e00006", "e00007"]
    assert annotation.created_at == datetime(2026, 11, 22, 21, 53, 22, 445968, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"value": {"x": float("nan"), "y": 1}},
        {"value": {"x": float("inf"), "y": 1}},
        {"value": {"x": -1, "y": 1}},
        {"value": {"x": 101, "y": 1}},
        {"value": {"x": "30", "y": 1}},
        {"value": {"x": True, "y": 1}},
        {"value": {"x": 10**400, "y": 1}},
        {"value": {"x": [30], "y": 1}},
        {"value": {"y": 1}},
        {"value": None},
        {"value": [1, 2]},
        {"id": None},
        {"id": {"a": 1}},
        {"from_name": None},
        {"from_name": ["kp"]},
        {"from_name": "nobody"},
        {"to_name": "elsewhere"},
    ],
)
def test_a_click_that_makes_no_sense_is_left_out(changes):
    interaction = read(asked(click(**changes), click(id="good")))
    assert [c.id for c in interaction.clicks] == ["good"]


def test_a_click_on_the_edge_may_be_off_by_rounding():
    (one,) = read(asked(click(value={"x": 100.00000000000001, "y": -1e-14}))).clicks
    assert (one.x_percent, one.y_percent) == (100, 0)


def test_what_was_left_out_is_said():
    off = click(value={"x": 130, "y": 1, "keypointlabels": ["Cat"]})
    box = click(id="r1", from_name="rect", type="rectanglelabels")
    phrase = {**click(), "id": None, "from_name": "phrase", "type": "textarea"}
    phrase["value"] = {"text": ["cat"]}
    touch = {"type": "add", "relativePoints": [1, 2], "relativeStrokeWidth": 3}
    value = {"touches": [touch], "brushlabels": ["Cat"]}
    stroke = click(id="s1", from_name="brush", type="brushlabels", value=value)
    assert len(read(asked(off, box, phrase, stroke)).ignored) == 4


@pytest.mark.parametrize(("control", "key"), [("kp", "keypointlabels"), ("brush", "brushlabels")])
def test_the_ghost_twin_of_the_status_line_is_nothing(control, key):
    """With a label pressed while an answer arrives, the page makes one."""
    ghost = click(id="status", from_name=control, value={key: ["Cat"]})
    draft = {"id": 1, "user": "a", "updated_at": "2026-11-22T21:00:00Z", "result": [ghost]}
    interaction = read(asked(ghost, drafts=[draft]))
    assert (interaction.image, interaction.ignored) == (None, ())
    assert (interaction.saved[0].clicks, interaction.saved[0].regions) == ({}, {})


def test_a_key_point_takes_its_label_from_a_second_item():
    config = parse_config(
        '<View><Image name="image" value="$image"/><Labels name="tag" toName="image">'
        '<Label value="Cat"/><Label value="Dog"/></Labels><Brush name="mask" toName="image"/>'
        '<KeyPoint name="dots" toName="image" smart="true"/></View>'
    )
    point = {"id": "k1", "to_name": "image", "value": {"x": 30, "y": 40}}
    drawn = {**point, "from_name": "dots", "type": "keypoint"}
    named = {**point, "from_name": "tag", "type": "labels", "value": {"labels": [" Dog "]}}

    (one,) = Interaction.read(parse_predict(asked(drawn, named)), config, NOW).clicks
    assert (one.from_name, one.label) == ("dots", "Dog")


@pytest.mark.parametrize("labels", ["Cat", ["  cat "], ["Bird", "Cat"], ["Ｃａｔ"]])
def test_a_label_however_it_is_written(labels):
    (one,) = read(asked(click(value={"x": 30, "y": 40, "keypointlabels": labels}))).clicks
    assert one.label == ("cat" if labels == ["  cat "] else "Cat")


@pytest.mark.parametrize("labels", [5, {"Cat": 1}, [["Cat"]], None])
def test_labels_that_make_no_sense_are_none(labels):
    (one,) = read(asked(click(value={"x": 30, "y": 40, "labels": labels}))).clicks
    assert one.label == ""


@pytest.mark.parametrize("item", ["x", 3, None, [[]], [click()]])
def test_items_that_are_no_objects_are_left_out(item):
    assert [c.id for c in read(asked(item, click())).clicks] == ["k1"]


def test_a_click_sent_twice_in_one_context_counts_once():
    assert len(read(asked(click(), click())).clicks) == 1


def test_text_that_no_database_takes_is_cleaned():
    interaction = read(asked(click(id="a\0b\ud800")))
    assert interaction.clicks[0].id == "ab?"


def test_the_status_is_never_read_as_a_phrase():
    status = {"id": "s", "from_name": "status", "to_name": "image", "value": {"text": ["3 clicks"]}}
    assert read(asked(status)).image is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (["red cat"], "red cat"),
        ("red cat", "red cat"),
        (["old", " new "], "new"),
        (["new", ""], "new"),
        ([], ""),
        ([3, None], ""),
        (["猫" * 20_000], "猫" * 10_000),
    ],
)
def test_texts_of_a_phrase(text, expected):
    item = {"id": "t", "from_name": "phrase", "to_name": "image", "value": {"text": text}}
    assert read(asked(item)).phrase.text == expected


KEYS = st.sampled_from(
    ["id", "value", "from_name", "to_name", "type", "is_positive", "updated_at", "result", "user"]
)
ITEMS = st.dictionaries(KEYS, JSON | st.sampled_from(["kp", "image", "phrase", "brush"]))


@settings(max_examples=200, deadline=None)
@given(items=st.lists(ITEMS | JSON, max_size=5), drafts=st.lists(ITEMS | JSON, max_size=3))
def test_no_context_and_no_draft_makes_anything_but_sense_or_a_sentence(items, drafts):
    body = asked(*items, drafts=drafts, annotations=drafts)
    with suppress(RequestError):
        assert all(0 <= c.x_percent <= 100 for c in read(body).clicks)
