"""Where the network looks, and boxes as clicks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model import refinement
from model.crop import Box
from model.inference import Answer, coverage, obey
from model.mask_upsampling import LogitGrid
from model.prompt import Click, Prompt
from model.refinement import Session
from model.tokens import Tokens

Mask = NDArray[np.bool_]
WIDTH, HEIGHT = 600, 400
WHOLE = Box(0, 0, WIDTH, HEIGHT)
NO_WORDS = Tokens((), (), (), np.zeros((0, 8), np.float32))
Shape = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


class RecordingNetwork:
    """A network that sees a fixed shape (positive inside), and remembers where it looked."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.boxes: list[Box] = []
        self.details: list[Box] = []

    def __call__(
        self, prompt: Prompt, box: Box, previous: Mask | None, *, detail: bool = False
    ) -> Answer:
        (self.details if detail else self.boxes).append(box)
        size = (64, 96)
        x = box.left + (np.arange(size[1]) + 0.5) * box.width / size[1]
        y = box.top + (np.arange(size[0]) + 0.5) * box.height / size[0]
        logits = np.clip(self.shape(x[None], y[:, None]), -9, 9).astype(np.float32)
        obey(logits, prompt.clicks, box)
        before = None if previous is None else coverage(previous, size) > 0.5
        return Answer(LogitGrid(logits, box), before, None)


class WordNetwork(RecordingNetwork):
    """Sees one shape for clicks, one for clicks with words, one for words alone."""

    def __init__(self, clicked: Shape, both: Shape, named: Shape) -> None:
        super().__init__(clicked)
        self.clicked, self.both, self.named = clicked, both, named

    def __call__(
        self, prompt: Prompt, box: Box, previous: Mask | None, *, detail: bool = False
    ) -> Answer:
        with_words = self.both if prompt.clicks else self.named
        self.shape = with_words if prompt.tokens.words else self.clicked
        return super().__call__(prompt, box, previous, detail=detail)


def disk(x: float, y: float, radius: float) -> Shape:
    return lambda xs, ys: radius - np.hypot(xs - x, ys - y)


def either(*shapes: Shape) -> Shape:
    return lambda xs, ys: np.maximum.reduce([shape(xs, ys) for shape in shapes])


def picture_of(shape: Shape) -> Mask:
    mask: Mask = shape(np.arange(WIDTH) + 0.5, np.arange(HEIGHT)[:, None] + 0.5) > 0
    return mask


def ask(
    looks: RecordingNetwork,
    *clicks: Click,
    phrase: str = "",
    previous: Mask | None = None,
    suggested: bool = False,
    named: bool = False,
    size: tuple[int, int] = (WIDTH, HEIGHT),
) -> Mask:
    words = tuple(phrase.split())
    tokens = Tokens(words, (), (), np.zeros((len(words), 8), np.float32))
    prompt = Prompt(clicks, tokens)
    session = Session(*size, prompt, looks, suggested, named, box_prompts=False)
    return session.answer(previous).layers.mask()


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_small_object_gets_a_closer_look() -> None:
    looks = RecordingNetwork(disk(200, 150, 20))

    mask = ask(looks, Click(200, 150))

    assert looks.boxes[0] == WHOLE
    assert len(looks.boxes) == 2
    assert looks.boxes[1].holds(200, 150)
    assert iou(mask, picture_of(disk(200, 150, 20))) > 0.95


def test_a_first_answer_is_as_good_as_both_looks_expect() -> None:
    # given a network that is less sure of the object in the whole picture than of its border
    class SureNetwork(RecordingNetwork):
        def __call__(self, *args: Any, **options: Any) -> Answer:
            answer = super().__call__(*args, **options)
            return replace(answer, iou_logit=-1.0 if len(self.boxes) == 1 else 2.0)

    looks = SureNetwork(disk(200, 150, 20))
    prompt = Prompt((Click(200, 150),), NO_WORDS)
    # when a small object is clicked
    result = Session(WIDTH, HEIGHT, prompt, looks, box_prompts=False).answer(None)
    # then the mean of both is expected
    assert len(looks.boxes) == 2
    assert result.answer.iou_logit == 0.5


def test_a_known_object_is_looked_at_alone() -> None:
    looks = RecordingNetwork(disk(200, 150, 20))
    known = picture_of(disk(200, 150, 18))

    ask(looks, Click(200, 150), Click(205, 155), previous=known)

    assert len(looks.boxes) == 1
    assert looks.boxes[0] != WHOLE


def test_a_click_far_away_needs_the_whole_picture() -> None:
    looks = RecordingNetwork(disk(200, 150, 20))

    ask(looks, Click(200, 150), Click(590, 10), previous=picture_of(disk(200, 150, 18)))

    assert looks.boxes[0] == WHOLE


@pytest.mark.parametrize(
    ("phrase", "older", "whole"),
    [
        ("dog", [], True),
        ("dog", [Click(200, 150)], False),
        ("left dog", [Click(200, 150)], True),
        ("second dog", [Click(200, 150)], True),
        ("red dog", [Click(200, 150)], False),
    ],
)
def test_words_need_the_whole_picture_first_and_where_they_compare(
    phrase: str, older: list[Click], whole: bool
) -> None:
    looks = RecordingNetwork(disk(200, 150, 20))
    known = picture_of(disk(200, 150, 18))

    ask(looks, *older, Click(205, 155), phrase=phrase, previous=known)

    assert (looks.boxes[0] == WHOLE) == whole


def test_parts_without_a_click_go_and_pinholes_are_filled() -> None:
    ring = lambda xs, ys: np.minimum(  # noqa: E731
        disk(300, 200, 100)(xs, ys), np.hypot(xs - 300, ys - 200) - 9
    )
    looks = RecordingNetwork(either(ring, disk(520, 60, 30)))

    mask = ask(looks, Click(340, 200))

    assert mask[200, 300]
    assert not mask[60, 520]


def test_a_phrase_alone_may_mean_several() -> None:
    mask = ask(RecordingNetwork(either(disk(150, 200, 60), disk(450, 200, 50))), phrase="dog")

    assert mask[200, 150]
    assert mask[200, 450]


@pytest.mark.parametrize(
    ("both", "named", "heard"),
    [
        pytest.param(disk(300, 200, 150), disk(420, 200, 80), False, id="a crowd beside the click"),
        pytest.param(disk(300, 200, 150), disk(300, 200, 140), True, id="the whole of a part"),
        pytest.param(disk(300, 200, 60), disk(420, 200, 80), True, id="hardly larger"),
    ],
)
def test_a_phrase_that_adds_others_of_its_kind_to_a_click_is_ignored(
    both: Shape, named: Shape, heard: bool
) -> None:
    clicked = disk(300, 200, 40)

    mask = ask(WordNetwork(clicked, both, named), Click(300, 200), phrase="dog")

    assert iou(mask, picture_of(both if heard else clicked)) > 0.9


def test_a_phrase_is_heard_where_the_clicks_are_on_all_that_it_means() -> None:
    both = disk(300, 200, 150)
    network = WordNetwork(disk(300, 200, 40), both, disk(420, 200, 80))

    mask = ask(network, Click(300, 200), phrase="dog", named=True)

    assert iou(mask, picture_of(both)) > 0.9


def test_a_late_correction_changes_only_what_is_connected_to_it() -> None:
    kept = either(disk(150, 200, 60), disk(450, 200, 60))
    known = picture_of(kept)
    # The network now sees the left disk with a bump, and the right one gone.
    looks = RecordingNetwork(either(disk(150, 200, 60), disk(150, 130, 30)))
    older = [Click(150, 200), Click(450, 200), Click(300, 350, positive=False)]

    mask = ask(looks, *older, Click(150, 110), previous=known)

    assert mask[110, 150]
    assert mask[picture_of(disk(450, 200, 60))].mean() > 0.97


def test_an_early_correction_may_change_all_of_an_answer() -> None:
    looks = RecordingNetwork(disk(150, 200, 60))
    known = picture_of(either(disk(150, 200, 60), disk(450, 200, 60)))

    mask = ask(looks, Click(150, 200), Click(130, 220), previous=known)

    assert not mask[200, 450]


@pytest.mark.parametrize("suggested", [False, True])
def test_the_first_click_on_a_suggested_mask_may_change_all_of_it(suggested: bool) -> None:
    looks = RecordingNetwork(disk(150, 200, 40))
    known = picture_of(disk(150, 200, 60))

    mask = ask(looks, Click(150, 200), previous=known, suggested=suggested)

    assert iou(mask, picture_of(disk(150, 200, 40 if suggested else 60))) > 0.95


@pytest.mark.parametrize("phrase", ["", "dog"])
@pytest.mark.parametrize("suggested", [False, True])
def test_negative_clicks_alone_leave_the_object_of_the_mask_before(
    phrase: str, suggested: bool
) -> None:
    # given a network that finds nothing without a positive click
    class Asking(RecordingNetwork):
        def __call__(self, prompt: Prompt, *arguments: Any, **options: Any) -> Answer:
            found = disk(200, 150, 20)
            self.shape = found if prompt.positives else (lambda xs, ys: found(xs, ys) - 99)
            return super().__call__(prompt, *arguments, **options)

    known = picture_of(disk(200, 150, 26))
    # when
    clicks = [Click(223, 150, positive=False), Click(177, 150, positive=False)]
    mask = known
    for count in (1, 2):
        mask = ask(Asking(disk(0, 0, 1)), *clicks[:count], phrase=phrase, previous=mask,
                   suggested=suggested and count == 1)  # fmt: skip
    # then
    assert not mask[150, 223]
    assert not mask[150, 177]
    assert iou(mask, picture_of(disk(200, 150, 20))) > 0.6


def test_an_older_click_that_a_painted_mask_contradicts_counts() -> None:
    looks = RecordingNetwork(disk(150, 200, 60))
    painted = picture_of(disk(450, 200, 60))

    mask = ask(looks, Click(150, 200), Click(450, 200), previous=painted)

    assert mask[200, 150]
    assert np.array_equal(mask[:, 300:], painted[:, 300:])


def test_a_small_change_is_looked_at_in_a_crop_of_its_own() -> None:
    thorn = disk(300, 90, 8)
    looks = RecordingNetwork(either(disk(300, 200, 100), thorn))
    known = picture_of(disk(300, 200, 100))
    older = [Click(300, 200), Click(250, 200), Click(20, 20, positive=False)]

    mask = ask(looks, *older, Click(300, 90), previous=known)

    (detail,) = looks.details
    assert detail.width == detail.height < 150
    assert detail.holds(300, 90)
    wanted = picture_of(either(disk(300, 200, 100), thorn))
    assert (mask != wanted).sum() < 0.1 * (known != wanted).sum()


def test_a_large_change_needs_no_crop_of_its_own() -> None:
    looks = RecordingNetwork(either(disk(200, 200, 100), disk(350, 200, 100)))
    older = [Click(200, 200), Click(180, 200), Click(20, 20, positive=False)]

    ask(looks, *older, Click(400, 200), previous=picture_of(disk(200, 200, 100)))

    assert not looks.details


def test_a_correction_leaves_what_a_person_painted_elsewhere_bit_for_bit() -> None:
    looks = RecordingNetwork(either(disk(200, 200, 100), disk(200, 90, 15)))
    painted = picture_of(disk(200, 200, 100))
    painted[200:204, 150:300:7] = False  # scratches far from the click

    mask = ask(looks, Click(200, 88), previous=painted)

    assert mask[88, 200]
    assert np.array_equal(mask[130:], painted[130:])


LONG = 20_000, 100


def upright(size: tuple[int, int], *, turned: bool) -> tuple[int, int]:
    return (size[1], size[0]) if turned else size


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("phrase", ["", "dog"])
def test_a_click_in_a_picture_with_extreme_sides_is_answered_from_a_window(
    turned: bool, phrase: str
) -> None:
    # given a picture of 20,000 x 100 pixels with a thing in each half
    here, there = (upright(place, turned=turned) for place in ((15_000, 50), (300, 50)))
    looks = RecordingNetwork(either(disk(*here, 30), disk(*there, 30)))

    # when one of them is clicked on
    mask = ask(looks, Click(*here), phrase=phrase, size=upright(LONG, turned=turned))

    # then what is looked at is never squeezed, and the mask is where the click is
    assert all(max(b.width, b.height) <= 6 * min(b.width, b.height) for b in looks.boxes)
    rows, columns = np.nonzero(mask)
    assert abs(columns.mean() - here[0]) < 3
    assert abs(rows.mean() - here[1]) < 3
    assert mask.sum() == pytest.approx(np.pi * 30**2, rel=0.1)


def test_clicks_that_no_window_shows_together_each_get_their_own() -> None:
    places = [(400, 50), (9_000, 50), (15_000, 50)]
    looks = RecordingNetwork(either(*(disk(*place, 30) for place in places)))

    mask = ask(looks, *(Click(*place) for place in places), Click(2_000, 5, False), size=LONG)

    assert [mask[y, x] for x, y in places] == [True] * 3
    assert mask.sum() == pytest.approx(3 * np.pi * 30**2, rel=0.1)


def test_a_long_object_is_extended_where_the_newest_click_is() -> None:
    # given a road of which 3,000 pixels are in the mask, and the network sees all of it
    looks = RecordingNetwork(lambda xs, ys: 20 - np.abs(ys - 50) + 0 * xs)
    known = np.zeros(LONG[::-1], bool)
    known[30:70, 5_000:8_000] = True

    # when its other end is clicked on
    mask = ask(looks, Click(6_000, 50), Click(8_200, 50), previous=known, size=LONG)

    # then the part around that click is new, and what was there stays
    assert mask[:, :7_000].sum() == known[:, :7_000].sum()
    assert mask[50, 5_000:8_400].all()
    assert not mask[:, 9_000:].any()


NO_WORDS = Tokens((), (), (), np.zeros((0, 8), np.float32))


def test_the_centre_is_positive_and_beyond_each_side_is_a_negative() -> None:
    prompt = Prompt((), NO_WORDS, (100.0, 50.0, 200.0, 150.0))

    clicks = refinement.box_as_clicks(prompt, 300, 300).clicks

    assert [c for c in clicks if c.positive] == [Click(150, 100)]
    negatives = {(c.x, c.y) for c in clicks if not c.positive}
    assert negatives == {(90, 100), (210, 100), (150, 40), (150, 160)}


def test_no_negative_is_outside_the_picture_and_own_clicks_come_last() -> None:
    own = Click(20, 20)
    prompt = Prompt((own,), NO_WORDS, (0.0, 0.0, 60.0, 100.0))

    clicks = refinement.box_as_clicks(prompt, 300, 100).clicks

    assert clicks == (Click(66, 50, positive=False), own)


def test_a_prompt_without_a_box_stays() -> None:
    prompt = Prompt((Click(1, 1),), NO_WORDS)

    assert refinement.box_as_clicks(prompt, 10, 10) is prompt


def test_what_is_outside_is_cut_unless_it_was_clicked() -> None:
    grid = LogitGrid(np.full((30, 30), 3.0, np.float32), Box(0, 0, 300, 300))
    prompt = Prompt((Click(250, 100),), NO_WORDS, (100.0, 50.0, 200.0, 150.0))

    cut = refinement.cut_to_box(refinement.box_as_clicks(prompt, 300, 300) and grid, prompt)
    assert cut is grid, "a network that knows boxes decides by itself"

    inside = refinement.cut_to_box(grid, refinement.box_as_clicks(prompt, 300, 300)).logits > 0
    assert inside[5:15, 10:25].all()
    assert inside.sum() == 10 * 15
