"""What a predictor makes of clicks, boxes, words and the mask before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model import crop
from model.errors import PromptError
from model.inference import Inference
from model.network.phraseclick import Features
from model.predictor import Click, Predictor

Picture = NDArray[np.uint8]


def picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_nothing_asked_is_nothing_found(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(40, 50))

    for phrase in ("", "xqzkjv"):
        prediction = predictor.predict(embedding, [], phrase, np.ones((40, 50), bool))
        assert prediction.confidence == 0
        assert not prediction.mask().any()
        assert prediction.probability().max() == 0
    assert prediction.tokens.ignored == ("xqzkjv",)


def test_negative_clicks_alone_say_what_it_is_not_and_find_nothing(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(40, 50))
    clicks = [Click(10, 10, positive=False), Click(30, 20, positive=False)]
    shown = np.zeros((40, 50), bool)
    shown[5:15, 5:15] = True

    assert not predictor.predict(embedding, clicks).mask().any()
    assert not predictor.predict(embedding, clicks, "", np.zeros_like(shown)).mask().any()
    assert predictor.predict(embedding, clicks, "", shown).mask().any()


@pytest.mark.parametrize(
    "arguments",
    [
        ([(3, 4, True)],),
        ([Click("3", 4)],),
        ([Click(10**400, 4)],),
        ([], None),
        ([Click(3, 4)], "", np.full((40, 50), "a")),
        ([Click(3, 4)], "", [[0, 1]]),
        ([], "", None, 5),
        ([], "", None, "abcd"),
    ],
    ids=["tuple", "text", "huge", "no phrase", "letters", "list", "number", "word"],
)
def test_other_types_are_refused_in_a_sentence(predictor: Predictor, arguments: Any) -> None:
    embedding = predictor.encode(picture(40, 50))

    with pytest.raises(PromptError):
        predictor.predict(embedding, *arguments)
    with pytest.raises(PromptError, match="Encode the picture first"):
        predictor.predict(picture(40, 50), *arguments)


def test_phrase_alone_is_a_prompt(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(40, 50))

    dog = predictor.predict(embedding, [], "dog").probability()

    assert dog.max() > 0
    assert not np.array_equal(dog, predictor.predict(embedding, [], "cat").probability())


@pytest.mark.parametrize("bad", [np.ones((50, 40), bool), np.ones((40, 50, 1), bool)])
def test_a_mask_of_another_size_is_refused(predictor: Predictor, bad: NDArray[np.bool_]) -> None:
    embedding = predictor.encode(picture(40, 50))

    with pytest.raises(PromptError, match="previous mask"):
        predictor.predict(embedding, [Click(1, 1)], "", bad)


@pytest.mark.parametrize("place", [(float("nan"), 1.0), (1.0, float("inf"))])
def test_a_click_nowhere_is_refused(predictor: Predictor, place: tuple[float, float]) -> None:
    embedding = predictor.encode(picture(40, 50))

    with pytest.raises(PromptError, match="is not a point in the picture"):
        predictor.predict(embedding, [Click(*place)])


def test_a_click_beyond_the_rim_is_one_on_it(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(40, 50))

    outside = predictor.predict(embedding, [Click(50, -3)]).probability()

    assert np.array_equal(outside, predictor.predict(embedding, [Click(49.999, 0)]).probability())


def test_a_previous_mask_may_be_probabilities(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(40, 50))
    first = predictor.predict(embedding, [Click(20, 20)])
    clicks = [Click(20, 20), Click(2, 2, positive=False)]

    by_mask = predictor.predict(embedding, clicks, "", first.mask())
    by_probability = predictor.predict(embedding, clicks, "", first.probability())

    assert np.array_equal(by_mask.probability(), by_probability.probability())


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_clicked_pixel_obeys_its_click(data: st.DataObject, predictor: Predictor) -> None:
    height, width = data.draw(
        st.sampled_from([(60, 80), (300, 200), (33, 900), (2000, 20), (7, 5)])
    )
    embedding = predictor.encode(picture(height, width), f"{height}x{width}")
    # Some share a cell of the network's answer, and none a pixel.
    clicks = [Click(data.draw(st.floats(0, width - 0.01)), data.draw(st.floats(0, height - 0.01)))]
    for _ in range(data.draw(st.integers(0, 5))):
        x, y = data.draw(st.floats(0, width - 0.01)), data.draw(st.floats(0, height - 0.01))
        if data.draw(st.booleans()):
            x, y = min(clicks[-1].x + 1, width - 0.01), clicks[-1].y
        if all((int(x), int(y)) != (int(c.x), int(c.y)) for c in clicks):
            clicks.append(Click(x, y, data.draw(st.booleans())))
    previous = None
    if data.draw(st.booleans()):
        previous = np.zeros((height, width), bool)
        previous[: height // 3, : width // 4] = True

    mask = predictor.predict(embedding, clicks, "", previous).mask()

    for click in clicks:
        assert mask[int(click.y), int(click.x)] == click.positive, click


def test_of_two_clicks_on_one_spot_the_later_holds(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(60, 60))
    here, away = Click(30.2, 30.2), Click(30.2, 30.2, positive=False)

    assert not predictor.predict(embedding, [here, away]).mask()[30, 30]
    assert predictor.predict(embedding, [away, here]).mask()[30, 30]


def test_a_crop_is_encoded_once_for_many_clicks(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[tuple[int, int]] = []
    real = Inference.encode

    def watched(inference: Inference, image: Image.Image, *rest: Any) -> Features:
        encoded.append(image.size)
        return real(inference, image, *rest)

    monkeypatch.setattr(Inference, "encode", watched)
    monkeypatch.setattr(crop, "reaches_edge", lambda *_: False)
    embedding = predictor.encode(picture(500, 500))
    previous = np.zeros((500, 500), bool)
    previous[100:140, 100:140] = True

    for step in range(5):
        predictor.predict(embedding, [Click(110 + step, 120)], "", previous)

    assert len(encoded) == 2


def test_a_mask_that_a_person_painted_changes_only_around_the_click(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(300, 300))
    painted = np.zeros((300, 300), bool)
    painted[20:60, 20:60] = painted[200:280, 200:280] = True
    painted[230:234, 230:234] = False

    mask = predictor.predict(embedding, [Click(40, 40, positive=False)], "", painted).mask()

    assert not mask[40, 40]
    mask[:80, :80] = painted[:80, :80]
    assert np.array_equal(mask, painted)


def test_a_prediction_keeps_no_hold_of_the_callers_mask(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(60, 60))
    painted = np.zeros((60, 60), bool)
    painted[:30, :30] = True
    prediction = predictor.predict(embedding, [Click(50, 50)], "", painted)
    before = prediction.mask()

    painted[:] = False

    assert np.array_equal(prediction.mask(), before)


def test_a_box_is_a_prompt(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(200, 300))

    mask = predictor.predict(embedding, [], box=(100.0, 50.0, 160.0, 120.0)).mask()

    assert mask[85, 130], "its centre is in"
    outside = mask.copy()
    outside[46:124, 96:164] = False
    assert not outside.any()
    corners = predictor.predict(embedding, [], box=(160.0, 120.0, 100.0, 50.0)).mask()
    assert np.array_equal(mask, corners)


def test_a_click_and_a_word_can_come_with_a_box(predictor: Predictor) -> None:
    embedding = predictor.encode(picture(200, 300))
    clicks = [Click(110, 60), Click(130, 85, positive=False)]

    first = predictor.predict(embedding, clicks, "dog", box=(100.0, 50.0, 160.0, 120.0))
    second = predictor.predict(
        embedding, [*clicks, Click(20, 20)], "dog", first.mask(), (100.0, 50.0, 160.0, 120.0)
    )

    assert first.mask()[60, 110]
    assert not first.mask()[85, 130]
    assert second.mask()[20, 20]


@pytest.mark.parametrize(
    "box",
    [(0, 0, 10), (0, 0, float("nan"), 10), (5, 5, 5, 20), (300, 0, 400, 10)],
    ids=["three numbers", "nan", "no width", "outside"],
)
def test_a_box_that_covers_nothing_is_refused(predictor: Predictor, box: tuple[float, ...]) -> None:
    embedding = predictor.encode(picture(200, 300))

    with pytest.raises(PromptError, match="box"):
        predictor.predict(embedding, [], box=box)
