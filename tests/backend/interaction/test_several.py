"""A phrase that means all of a kind: several objects, each of which a click refines on its own."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from backend.db.models import EventRow, TargetRow
from backend.interaction.answer import Drawn, draw_one, draw_several, unlabeled
from backend.interaction.named_objects import NamedObject
from backend.interaction.request import Prompts, Turn, read_saved
from backend.interaction.rules import NO_LAST_OBJECT
from backend.interaction.store import InteractionStore
from backend.label_studio import rle
from backend.label_studio.config import parse_config
from backend.settings import Settings
from model.crop import Box
from model.instances import Instance
from tests.backend.interaction.page import HEIGHT, REFINE, WIDTH, Clock, Page, drawn_on

# Columns of three cats, from left to right, in percent of the width: 10 to 20, 40 to 50, 70 to 80.
CATS = [(0.1, 0.9), (0.4, 0.8), (0.7, 0.7)]


def cat(left: float, confidence: float) -> Instance:
    box = Box(round(left * WIDTH), 10, round((left + 0.1) * WIDTH), 40)
    pixels = np.ones((box.height, box.width), np.bool_)
    return Instance(WIDTH, HEIGHT, box, pixels, confidence)


@dataclass
class CatsPage(Page):
    """A page whose model finds the cats for a phrase that means all of them."""

    cats: list[Instance] = field(
        default_factory=lambda: [cat(left, confidence) for left, confidence in CATS]
    )
    dogs: tuple[float, ...] = ()  # confidences of those that are dogs

    def predicted(self, turn: Turn, target: Prompts) -> Drawn:
        if not target.every:
            return super().predicted(turn, target)
        ask = turn.ask
        dog = target.brush.label("Dog")
        found = [
            NamedObject(
                one,
                target.brush,
                dog if one.confidence in self.dogs else target.label,
                self.others.get("Dog", "v1") if one.confidence in self.dogs else "v1",
            )
            for one in self.cats
        ]
        objects = unlabeled(found, ask.saved, target.image, ask.phrase_ids)
        return draw_several(turn, target, objects, (WIDTH, HEIGHT), 0.5)

    def at(self, percent: float) -> str:
        """The id of the suggestion or region that covers a place."""
        for identity, region in (self.regions | self.shown).items():
            mask = rle.decode(region["value"]["rle"], WIDTH, HEIGHT)
            if mask[HEIGHT // 2, int(percent / 100 * WIDTH)]:
                return identity
        raise AssertionError(f"nothing covers {percent} %")


@pytest.fixture
def page(database: Any, clock: Clock) -> CatsPage:
    memory = InteractionStore(database, Settings(), knows=lambda text, version: True)
    return CatsPage(memory, clock, REFINE)


@pytest.fixture
def accepting_page(page: CatsPage) -> CatsPage:
    return replace(page, auto_accept=True)


def rows(page: CatsPage, table: Any) -> list[Any]:
    with page.memory.database.read() as connection:
        return list(connection.execute(select(table).order_by(table.id)).all())


@pytest.mark.parametrize("phrase", ["cats", "all the cats", "Cat"])
def test_each_object_of_the_phrase_is_one_of_its_own(page: CatsPage, phrase: str) -> None:
    turn = page.type(phrase)

    assert turn.target.every
    assert len(page.shown) == 3
    assert turn.target.region_id in page.shown
    targets = rows(page, TargetRow)
    assert {row.region_id for row in targets} == set(page.shown)
    assert {row.label for row in targets} == {"Cat"}
    assert {row.phrase_group for row in targets} == {turn.target.region_id}
    assert sorted(row.confidence for row in targets) == [0.7, 0.8, 0.9]


@pytest.mark.parametrize(("dogs", "own"), [((0.9,), "Cat"), ((0.9, 0.8, 0.7), "Dog")])
def test_several_kinds_keep_their_labels_and_the_versions_that_serve_them(
    page: CatsPage, dogs: tuple[float, ...], own: str
) -> None:
    # given a picture of dogs, which another version serves, and perhaps cats
    page.dogs, page.others = dogs, {"Dog": "base"}
    # when both are asked for
    turn = page.type("cats and dogs")
    # then each has its own label, on the page and in the log of objects
    labels = {i: region["value"]["brushlabels"] for i, region in page.shown.items()}
    places = zip((15, 45, 75), (0.9, 0.8, 0.7), strict=True)
    assert labels == {page.at(at): ["Dog" if c in dogs else "Cat"] for at, c in places}
    assert labels[turn.target.region_id] == [own]
    logged = {row.region_id: (row.label, row.model_version) for row in rows(page, TargetRow)}
    versions = {"Cat": "v1", "Dog": "base"}
    assert logged == {i: (label, versions[label]) for i, (label,) in labels.items()}


def test_a_phrase_in_the_singular_is_about_one_object(page: CatsPage) -> None:
    turn = page.type("the red cat")
    assert not turn.target.every
    assert len(page.shown) == 1


def test_the_log_tells_objects_that_cost_no_click(accepting_page: CatsPage) -> None:
    accepting_page.type("cats")
    accepting_page.work()
    accepting_page.submit()

    events = [(row.kind, row.region_id) for row in rows(accepting_page, EventRow)]
    first = accepting_page.at(15)
    others = {accepting_page.at(45), accepting_page.at(75)}
    assert ("phrase", first) in events
    assert {region for kind, region in events if kind == "suggest"} == others
    assert {region for kind, region in events if kind == "submit"} == {first, *others}


def test_a_click_inside_one_refines_that_one_and_keeps_the_others(page: CatsPage) -> None:
    page.type("cats")
    before = dict(page.shown)
    middle = page.at(45)

    turn = page.click(45)

    assert turn.target.region_id == middle
    assert turn.target.previous_mask[24, 28]
    assert turn.target.suggested
    assert turn.target.phrase == "cats"
    assert set(page.shown) == set(before)
    for identity in set(before) - {middle}:
        assert page.shown[identity] == before[identity]


def test_those_of_a_picture_of_another_size_are_not_drawn_again(page: CatsPage) -> None:
    # given cats that are suggested, and a click beside them
    page.type("cats")
    turn = page.click(60)
    # when the picture at the address has been replaced by a smaller one
    mask = np.ones((HEIGHT // 2, WIDTH // 2), np.bool_)
    drawn = draw_one(turn, turn.target, mask, 0.9, 0.5)
    # then a mask of the old size, which the page would draw as stripes, is not in the answer
    assert [item["id"] for item in drawn.items] == [turn.target.region_id]


def test_clicks_in_two_of_them_stay_apart(page: CatsPage) -> None:
    page.type("cats")
    left, right = page.at(15), page.at(75)

    page.click(15)
    turn = page.click(75)  # the page sends both key points

    assert turn.target.region_id == right
    assert len(turn.target.clicks) == 1
    (kept,) = [row for row in rows(page, TargetRow) if row.region_id == left]
    assert len(kept.clicks) == 1
    assert len(page.shown) == 3


def test_a_further_click_in_the_same_one_counts_with_the_first(page: CatsPage) -> None:
    page.type("cats")
    page.click(15)
    turn = page.click(17)
    assert len(turn.target.clicks) == 2


def test_an_undone_click_of_another_one_no_longer_counts(page: CatsPage) -> None:
    page.type("cats")
    left = page.at(15)
    page.click(15)
    undone = next(iter(page.points))
    page.click(45)
    page.undo_click(undone)

    page.click(47)

    (row,) = [row for row in rows(page, TargetRow) if row.region_id == left]
    assert [click[6] for click in row.clicks] == [False]
    assert rle.decode(page.shown[left]["value"]["rle"], WIDTH, HEIGHT)[12, 7]


def test_a_click_beside_them_is_an_object_of_its_own(page: CatsPage) -> None:
    page.type("cats")
    turn = page.click(60)
    assert turn.started
    assert turn.target.phrase_source == "label"
    assert len(page.shown) == 4
    page.click(15)
    assert len(page.shown) == 4


@pytest.mark.parametrize(("x", "how"), [(75, {"negative": True}), (84, {"label": "+ last object"})])
def test_removing_inside_one_and_adding_near_one_are_about_that_one(
    page: CatsPage, x: float, how: dict[str, Any]
) -> None:
    page.type("cats")
    right = page.at(75)
    assert page.click(x, **how).target.region_id == right


def test_removing_beside_all_of_them_needs_an_object(page: CatsPage) -> None:
    page.type("cats")
    turn = page.click(60, "- last object")
    assert turn.target is None
    assert NO_LAST_OBJECT in turn.notes


def test_what_was_clicked_once_is_no_longer_a_suggestion(page: CatsPage) -> None:
    page.type("cats")
    page.click(75)

    turn = page.click(78, negative=True)

    assert turn.target.previous_mask is not None
    assert not turn.target.suggested


def test_an_accepted_one_is_refined_under_its_id(accepting_page: CatsPage) -> None:
    accepting_page.type("cats")
    middle = accepting_page.at(45)
    accepting_page.work()

    turn = accepting_page.click(45)  # Ctrl-click: a plain one selects the region

    assert turn.target.region_id == middle
    assert turn.suggestions == ()


def test_asking_again_keeps_the_ids_of_what_is_found_again(page: CatsPage) -> None:
    page.type("cats")
    before = {place: page.at(place) for place in (15, 45, 75)}
    del page.cats[1]

    page.type("all cats")

    assert {place: page.at(place) for place in (15, 75)} == {15: before[15], 75: before[75]}
    (gone,) = [row for row in rows(page, TargetRow) if row.state == "gone"]
    assert gone.region_id == before[45]


def test_what_is_labeled_already_is_not_suggested_again(accepting_page: CatsPage) -> None:
    accepting_page.type("cats")
    accepting_page.work()
    accepting_page.delete_region(accepting_page.at(45))
    accepting_page.work()

    turn = accepting_page.type("all cats")

    assert turn.started
    assert len(accepting_page.regions) == 3
    assert accepting_page.at(45) == turn.target.region_id


def test_a_second_annotator_gets_what_the_first_one_labeled(accepting_page: CatsPage) -> None:
    # given all cats, labeled and submitted with their phrase
    accepting_page.type("cats")
    accepting_page.work()
    accepting_page.submit()
    # when another one opens the task and asks before a draft is there
    other = replace(
        accepting_page, user="bob@example.com", regions={}, shown={}, points={}, phrase=None
    )
    other.type("cats")
    # then there are suggestions of all cats
    assert len(other.regions) == 3
    # and who opens the annotation again gets none
    accepting_page.type("all cats")
    assert len(accepting_page.regions) == 3


@pytest.mark.parametrize("controls", [("one", "two"), ("both", "both")])
def test_what_is_labeled_on_another_image_is_suggested(controls: tuple[str, str]) -> None:
    # given two images of one size, and a cat that is labeled on the first one
    tools = {"one": "first", "two": "second"} if controls[0] == "one" else {"both": "first,second"}
    drawing = "".join(
        f'<BrushLabels name="{name}" toName="{image}"><Label value="Cat"/></BrushLabels>'
        for name, image in tools.items()
    )
    images = "".join(
        f'<Image name="{name}" value="${name}"/>'
        f'<TextArea name="phrase-{name}" toName="{name}" smart="true"/>'
        for name in ("first", "second")
    )
    config = parse_config(f"<View>{images}{drawing}</View>")
    brush = config.images[0].brushes[0]
    cats = [NamedObject(cat(left, confidence), brush, None, "v1") for left, confidence in CATS]
    region = drawn_on("a", cats[0].instance.mask(), from_name=controls[0], to_name="first")
    draft = {"id": 1, "user": "ann", "updated_at": "2026-11-22T12:00:00Z", "result": [region]}
    saved = read_saved([draft], [], config)
    # when
    first, second = (unlabeled(cats, saved, image) for image in config.images)
    # then
    assert (first, second) == (cats[1:], cats)


def test_editing_the_phrase_to_one_object_drops_the_others(page: CatsPage) -> None:
    page.type("cats")
    turn = page.type("the red cat")
    states = {row.region_id: row.state for row in rows(page, TargetRow)}
    assert states.pop(turn.target.region_id) == "open"
    assert set(states.values()) == {"gone"}


@pytest.mark.parametrize(("words", "every"), [("Cat", False), ("cats", True)])
def test_a_labels_name_says_what_a_clicked_object_is_and_a_plural_leaves_it_alone(
    page: CatsPage, words: str, every: bool
) -> None:
    clicked = page.click(60)
    turn = page.type(words)
    assert turn.target.every is every
    assert (turn.target.region_id != clicked.target.region_id) is every


def test_a_removed_phrase_is_one_event_for_all_its_objects(accepting_page: CatsPage) -> None:
    accepting_page.type("cats")
    accepting_page.work()
    accepting_page.remove_phrase()
    accepting_page.work()
    accepting_page.click(60)
    assert [row.kind for row in rows(accepting_page, EventRow)].count("undo") == 1


@pytest.mark.parametrize("negative", [False, True])
def test_a_click_inside_a_predicted_region_refines_that_region(
    accepting_page: CatsPage, negative: bool
) -> None:
    # given the regions of a batch prediction, which the page copied
    page = accepting_page
    for number, (left, confidence) in enumerate(CATS):
        name, mask = f"predicted{number}", cat(left, confidence).mask()
        page.regions[name] = drawn_on(name, mask, origin="prediction")
    page.work()

    # when
    turn = page.click(45, negative=negative)

    # then
    assert turn.target.region_id == "predicted1"
    assert turn.target.previous_mask[24, 28]
    assert turn.target.suggested
    assert set(page.regions) == {"predicted0", "predicted1", "predicted2"}
