"""A box prompt makes an object like a click does; clicks and phrases refine it."""

import itertools

import pytest
from sqlalchemy import select

from backend.db.models import EventRow
from backend.interaction.request import read_box
from backend.label_studio.config import parse_config
from backend.label_studio.regions import parse_result
from tests.backend.interaction.page import REFINE

CONFIG = REFINE.replace(
    "</KeyPointLabels>",
    """</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">
    <Label value="Cat"/><Label value="Dog"/><Label value="+ last object"/>
  </RectangleLabels>""",
)
_numbers = itertools.count(1)


def rectangle(x=10, y=20, width=40, height=50, label="Cat", rotation=0):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": f"box{next(_numbers)}",
        "from_name": "box",
        "to_name": "image",
        "type": "rectanglelabels",
        "origin": "manual",
        "original_width": 64,
        "original_height": 48,
        "image_rotation": 0,
        "value": {**value, "rectanglelabels": [label]},
    }


@pytest.fixture
def page(open_page):
    return open_page(config=CONFIG)


def boxes_of(database):
    with database.read() as connection:
        query = select(EventRow).where(EventRow.kind == "box")
        return connection.execute(query).all()


def test_a_box_alone_makes_an_object(page, database):
    # given a box drawn around something
    turn = page.send([rectangle()])
    # then it is an object of that label, asked for by the box
    assert turn.started
    assert turn.target.label.value == "Cat"
    assert turn.target.box.box == (10, 20, 50, 70)
    assert turn.target.points == ()
    # and one interaction in the log
    (row,) = boxes_of(database)
    assert (row.x_percent, row.y_percent, row.x2_percent, row.y2_percent) == (10, 20, 50, 70)
    assert row.starts
    assert turn.new == ("box",)


@pytest.mark.parametrize("box_first", [True, False])
def test_a_box_and_a_click_in_it_are_one_object(page, box_first):
    steps = [lambda: page.send([rectangle()]), lambda: page.click(30, "Cat", 40)]
    first, second = (step() for step in (steps if box_first else steps[::-1]))
    assert second.target.region_id == first.target.region_id
    assert second.target.box is not None
    assert len(second.target.points) == 1


@pytest.mark.parametrize(("x", "label"), [(80, "Cat"), (30, "Dog")])
def test_a_click_elsewhere_or_of_another_label_is_another_object(page, x, label):
    first = page.send([rectangle()])
    second = page.click(x, label, 40)
    assert second.target.region_id != first.target.region_id
    assert second.target.box is None


def test_once_accepted_a_box_is_left_alone_by_plain_clicks(page):
    first = page.send([rectangle()])
    page.accept()
    page.work()
    assert page.click(30, "Cat", 40).target.region_id != first.target.region_id


def test_each_box_is_an_object(page):
    # given a box whose rectangle is still on the page
    one, two = rectangle(), rectangle(x=60, width=30)
    first = page.send([one])
    # when another one of the label is drawn
    second = page.send([one, two])
    # then it is its own object
    assert second.started
    assert second.target.region_id != first.target.region_id
    assert second.target.box.box[0] == 60


def test_a_moved_box_asks_again_for_its_object(page, database):
    box = rectangle()
    first = page.send([box])
    box["value"]["x"] = 12
    second = page.send([box, rectangle(x=70, width=20)][:1])
    assert second.target.region_id == first.target.region_id
    assert second.target.box.box[0] == 12
    assert len(boxes_of(database)) == 1


def test_a_box_for_the_last_object_replaces_its_box(page):
    first = page.send([rectangle()])
    second = page.send([rectangle(x=5, label="+ last object")])
    assert second.target.region_id == first.target.region_id
    assert second.target.label.value == "Cat"
    assert [click.box[0] for click in second.target.clicks] == [5]


def test_a_phrase_and_a_box_are_one_object(page):
    phrase = page.type("red cat")
    box = page.send([rectangle()])
    assert box.target.region_id == phrase.target.region_id
    assert box.target.phrase == "red cat"
    assert box.target.box is not None


def read(item):
    (region,) = parse_result([item])
    control = parse_config(CONFIG).images[0].click("box")
    return read_box(region, control)


def test_a_rotated_box_is_the_upright_one_around_it():
    # given a box of 32 x 12 pixels, turned by a quarter about its first corner
    box = read(rectangle(x=50, y=20, width=50, height=25, rotation=90))
    # then it hangs down at the left of that corner
    assert box.box == pytest.approx((50 - 12 / 64 * 100, 20, 50, 20 + 32 / 48 * 100))


def test_a_box_ends_at_the_pictures_edge():
    assert read(rectangle(x=-5, y=90, width=20, height=30)).box == (0, 90, 15, 100)


@pytest.mark.parametrize("size", [(0, 10), (10, 0.01), (None, 10), (float("nan"), 3), (1e308, 3)])
def test_a_box_without_an_area_is_left_out_and_said(page, size):
    turn = page.send([rectangle(width=size[0], height=size[1])])
    assert turn.target is None
    assert "area" in turn.notes[0]


@pytest.mark.parametrize(
    ("more", "label", "prompts"),
    [
        ("", "Cat", True),
        ("", "Text block", False),
        (' smart="true"', "Text block", True),
        (' smart="false"', "Cat", False),
    ],
)
def test_rectangles_are_prompts_unless_they_are_labels_of_their_own(more, label, prompts):
    rectangles = f'<RectangleLabels name="r" toName="i"{more}><Label value="{label}"/>'
    config = parse_config(
        '<View><Image name="i" value="$i"/>'
        '<BrushLabels name="b" toName="i"><Label value="Cat"/></BrushLabels>'
        f"{rectangles}</RectangleLabels></View>"
    )
    assert bool(config.images[0].boxes) is prompts
