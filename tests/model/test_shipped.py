"""The checkpoint that ships sees what it is asked, on photographs that scikit-image brings along.

The regions are drawn by hand, well inside or outside of the things, so that any training that
deserves to ship passes.
"""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from model import checkpoint
from model import checkpoint_files as files
from model.predictor import Click, Predictor

Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return Predictor(device="cpu")


def ellipse(shape: tuple[int, ...], x: float, y: float, across: float, down: float) -> Mask:
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    return np.asarray(((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 < 1)


def part(mask: Mask, region: Mask) -> float:
    """How much of a region the mask covers."""
    return float((mask & region).sum() / region.sum())


CAT = skimage.data.chelsea()
CAT_FACE = ellipse(CAT.shape, 230, 140, 100, 90)
CAT_BACKGROUND = ellipse(CAT.shape, 430, 60, 20, 50)
ASTRONAUT = skimage.data.astronaut()
SUIT = ellipse(ASTRONAUT.shape, 160, 320, 60, 40)
FACE = ellipse(ASTRONAUT.shape, 225, 115, 35, 45)
WALL = ellipse(ASTRONAUT.shape, 340, 60, 30, 50)
COFFEE = skimage.data.coffee()
CUP = ellipse(COFFEE.shape, 290, 105, 80, 80)
TABLE = ellipse(COFFEE.shape, 545, 200, 40, 100)


def test_it_is_what_is_promised(shipped: Predictor) -> None:
    loaded = checkpoint.load()

    assert shipped.config.form == "late"
    assert shipped.version == loaded.version
    assert sum((loaded.path / name).stat().st_size for name in files.FILES) < 20e6
    for words in ("cat", "dogs", "red shirt", "Potted Plant", "person", "the left car"):
        assert shipped.tokenizer.knows(words), words


@pytest.mark.parametrize(
    ("image", "phrase", "thing", "elsewhere"),
    [(CAT, "cat", CAT_FACE, CAT_BACKGROUND), (ASTRONAUT, "a person", FACE, WALL)],
    ids=["cat", "person"],
)
def test_a_phrase_alone_finds_the_named_thing(
    shipped: Predictor, image: NDArray[np.uint8], phrase: str, thing: Mask, elsewhere: Mask
) -> None:
    mask = shipped.predict(shipped.encode(image), [], phrase).mask()

    assert part(mask, thing) > 0.8
    assert part(mask, elsewhere) < 0.2


def test_a_phrase_alone_finds_what_clicks_on_its_objects_find(shipped: Predictor) -> None:
    # given: two cats side by side, and the objects of the plural
    embedding = shipped.encode(np.concatenate([CAT, CAT[:, ::-1]], 1))
    objects = shipped.instances(embedding, "cats").objects

    # when
    named = shipped.predict(embedding, [], "cat").mask()
    clicked = shipped.predict(embedding, [Click(*one.centre) for one in objects], "cat").mask()

    # then: both whole, as clicks show them better than words
    assert len(objects) == 2
    assert (named & clicked).sum() > 0.995 * (named | clicked).sum()
    for half, face in zip(np.split(named, 2, 1), (CAT_FACE, CAT_FACE[:, ::-1]), strict=True):
        assert part(half, face) > 0.8


def test_a_phrase_for_what_is_not_there_does_not_find_the_cat(shipped: Predictor) -> None:
    mask = shipped.predict(shipped.encode(CAT), [], "car").mask()

    assert part(mask, CAT_FACE) < 0.5


@pytest.mark.parametrize(
    ("image", "click", "thing", "elsewhere"),
    [
        (CAT, Click(220, 130), CAT_FACE, CAT_BACKGROUND),
        (COFFEE, Click(290, 110), CUP, TABLE),
    ],
    ids=["cat", "cup"],
)
def test_one_click_finds_the_clicked_thing(
    shipped: Predictor, image: NDArray[np.uint8], click: Click, thing: Mask, elsewhere: Mask
) -> None:
    prediction = shipped.predict(shipped.encode(image), [click])

    assert part(prediction.mask(), thing) > 0.8
    assert part(prediction.mask(), elsewhere) < 0.1
    assert prediction.confidence > 0.5


def test_a_negative_click_takes_a_part_away(shipped: Predictor) -> None:
    embedding = shipped.encode(ASTRONAUT)
    before = shipped.predict(embedding, [], "person").mask()

    clicks = [Click(160, 320), Click(225, 115, positive=False)]
    after = shipped.predict(embedding, clicks, "", before).mask()

    assert part(before, FACE) > 0.8
    assert part(after, FACE) < 0.5
    assert part(after, SUIT) > 0.5


def test_a_phrase_changes_what_a_click_means(shipped: Predictor) -> None:
    embedding = shipped.encode(ASTRONAUT)
    click = Click(160, 320)

    suit = shipped.predict(embedding, [click], "suit").mask()
    person = shipped.predict(embedding, [click], "person").mask()

    assert part(suit, SUIT) > 0.8
    assert part(person, SUIT) > 0.8
    assert part(person, FACE) > part(suit, FACE) + 0.5


def test_a_small_thing_in_a_large_picture_has_a_fine_border(shipped: Predictor) -> None:
    """The cup at its own size in a corner of six megapixels of plain wood."""
    wood = Image.fromarray(COFFEE[:120, 450:]).resize((3000, 2000), Image.Resampling.BILINEAR)
    large = np.array(wood)
    large[1000:1400, 600:1200] = COFFEE
    embedding = shipped.encode(large)
    cup = np.zeros(large.shape[:2], bool)
    cup[1000:1400, 600:1200] = CUP

    first = shipped.predict(embedding, [Click(890, 1110)])
    mask = shipped.predict(
        embedding, [Click(890, 1110), Click(1160, 1100, positive=False)], "", first.mask()
    ).mask()

    assert part(mask, cup) > 0.8
    assert mask[1000:1400, 600:1200].sum() > 0.95 * mask.sum()


@pytest.mark.parametrize("turned", [False, True])
def test_a_click_in_a_picture_of_extreme_sides_finds_what_is_there(
    shipped: Predictor, turned: bool
) -> None:
    # given a strip of 20,000 pixels with the cat somewhere in it
    strip = np.full((300, 20_000, 3), 128, np.uint8)
    left = 12_345
    strip[:, left : left + CAT.shape[1]] = CAT
    face = np.zeros(strip.shape[:2], np.bool_)
    face[:, left : left + CAT.shape[1]] = CAT_FACE
    x, y = left + 230.0, 140.0
    if turned:
        strip, face, x, y = strip.swapaxes(0, 1).copy(), face.T, y, x

    # when its face is clicked on
    mask = shipped.predict(shipped.encode(strip), [Click(x, y)]).mask()

    # then the mask is on the cat, and nowhere else
    assert part(mask, face) > 0.8
    along = np.flatnonzero(mask.any(axis=1 if turned else 0))
    assert left - 60 < along[0]
    assert along[-1] < left + CAT.shape[1] + 60


@pytest.mark.parametrize("upright", [True, False])
def test_words_find_a_thing_in_a_picture_of_extreme_sides(
    shipped: Predictor, upright: bool
) -> None:
    # given: a cat far along a grey stripe
    cat = np.asarray(Image.fromarray(CAT).resize((150, 100)))
    stripe = np.full((100, 8000, 3), 120, np.uint8)
    stripe[:, 5000:5150] = cat
    embedding = shipped.encode(stripe if upright else stripe.transpose(1, 0, 2))

    # when
    alone = shipped.predict(embedding, [], "cat")
    every = shipped.instances(embedding, "cats")

    # then
    for mask in (alone.mask(), every.objects[0].mask()):
        mask = mask if upright else mask.T
        assert mask[:, 5000:5150].mean() > 0.5
        assert mask[:, 5000:5150].sum() > 0.9 * mask.sum()


@pytest.mark.parametrize(
    ("phrase", "half"),
    [("left cat", 0), ("cat on the right", 1), ("second cat", 1), ("the blue cat", 1)],
)
def test_of_two_of_a_kind_the_one_that_the_phrase_singles_out_is_found(
    shipped: Predictor, phrase: str, half: int
) -> None:
    blue = (CAT[:, ::-1] * np.array([0.4, 0.5, 1.0])).astype(np.uint8)
    picture = np.concatenate([CAT, blue], 1)

    mask = shipped.predict(shipped.encode(picture), [], phrase).mask()

    halves = np.split(mask, 2, 1)
    face = (CAT_FACE, CAT_FACE[:, ::-1])[half]
    assert part(halves[half], face) > 0.8
    assert halves[half].sum() > 0.95 * mask.sum()


def test_of_two_hundred_small_things_nearly_all_are_found_one_by_one(shipped: Predictor) -> None:
    # given a picture that as a whole shows each of them with a few cells
    random = np.random.default_rng(4)
    picture = np.full((480, 640, 3), 60.0) + random.normal(0, 6, (480, 640, 1))
    dots = np.zeros((480, 640), int)
    for number in range(208):
        row, column = divmod(number, 16)
        x, y = np.array([39 * column, 36 * row]) + random.integers(19, 30, 2)
        dot = ellipse((480, 640), x, y, 5, 5)
        picture[dot] = random.normal((200, 180, 60), 12)
        dots[dot] = number + 1
    embedding = shipped.encode(picture.clip(0, 255).astype(np.uint8))
    # when
    objects = shipped.instances(embedding, "dots").objects
    # then
    centres = [instance.centre for instance in objects]
    found = {int(dots[int(y), int(x)]) for x, y in centres} - {0}
    assert len(found) >= 195
    assert len(objects) <= 215
    assert all(instance.area < 200 for instance in objects)
