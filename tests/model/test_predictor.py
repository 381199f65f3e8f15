"""The predictor's promises for any picture, order of calls and number of threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from model import checkpoint, crop
from model.config import ModelConfig
from model.errors import CheckpointError, PromptError
from model.inference import Inference, device_named
from model.network.phraseclick import Features, PhraseClick
from model.predictor import Click, Predictor

Picture = NDArray[np.uint8]


def picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def answers(predictor: Predictor, image: Picture) -> list[NDArray[np.float32]]:
    """The probabilities of a short session on a picture."""
    height, width = image.shape[:2]
    embedding = predictor.encode(image)
    first = predictor.predict(embedding, [Click(width / 2, height / 2)])
    clicks = [Click(width / 2, height / 2), Click(1, 1, positive=False)]
    second = predictor.predict(embedding, clicks, "", first.mask())
    third = predictor.predict(embedding, clicks, "red dog", second.mask())
    return [p.probability() for p in (first, second, third)]


@pytest.mark.parametrize(
    "size",
    [(1, 1), (2, 2), (1, 500), (500, 1), (3, 4000), (20_000, 1), (31, 33), (97, 64), (700, 500)],
)
def test_any_size_of_picture(predictor: Predictor, size: tuple[int, int]) -> None:
    height, width = size

    embedding = predictor.encode(picture(height, width))
    clicks = [Click(width - 0.5, height / 2), Click(0, 0, positive=False)]
    before = predictor.predict(embedding, clicks, "dog")
    prediction = predictor.predict(embedding, clicks, "dog", before.mask())

    assert (embedding.width, embedding.height) == (width, height)
    assert prediction.mask().shape == size
    assert np.array_equal(prediction.mask(), prediction.probability() > 0.5)
    assert 0 <= prediction.confidence <= 1


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [[[0, 0, 0]]],
        None,
    ],
    ids=["grey", "alpha", "float", "empty", "list", "nothing"],
)
def test_other_arrays_are_refused(predictor: Predictor, image: Picture) -> None:
    with pytest.raises(PromptError, match="H,W,3 uint8"):
        predictor.encode(image)


def test_a_picture_turned_or_cut_from_another_is_fine(predictor: Predictor) -> None:
    image = picture(80, 60)

    turned = predictor.encode(np.rot90(image)[::-1])

    assert np.array_equal(
        predictor.predict(turned, [Click(5, 5)]).probability(),
        predictor.predict(
            predictor.encode(np.ascontiguousarray(np.rot90(image)[::-1]), "copy"), [Click(5, 5)]
        ).probability(),
    )


def test_the_same_input_gives_the_same_output_after_other_calls(
    checkpoint_path: Path, pictures: list[Picture]
) -> None:
    fresh = [answers(Predictor(checkpoint_path), image) for image in pictures]

    busy = Predictor(checkpoint_path)
    for image in [*pictures[::-1], *pictures]:
        answers(busy, image)
    later = [answers(busy, image) for image in pictures]

    for expected, actual in zip(fresh, later, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(expected, actual, strict=True))


def test_a_forgotten_picture_gives_the_same_output(
    checkpoint_path: Path, pictures: list[Picture]
) -> None:
    remembering, forgetting = Predictor(checkpoint_path), Predictor(checkpoint_path, cache_bytes=0)

    for image in pictures:
        for a, b in zip(answers(remembering, image), answers(forgetting, image), strict=True):
            assert np.array_equal(a, b)


def test_threads_never_mix_pictures(checkpoint_path: Path, pictures: list[Picture]) -> None:
    serial = [answers(Predictor(checkpoint_path), image) for image in pictures]
    # Room for two pictures: threads push each other's out all the time.
    shared = Predictor(checkpoint_path, cache_bytes=2 * 400_000, passes=2)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(pictures)), 4))

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda index: answers(shared, pictures[index]), order))

    for index, actual in zip(order, results, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(serial[index], actual, strict=True))


def test_one_picture_asked_for_by_many_is_encoded_once(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    encode = predictor._network.encode

    def counting(image: torch.Tensor) -> object:
        counted.append(1)
        return encode(image)

    monkeypatch.setattr(predictor._network, "encode", counting)
    image = picture(90, 90)
    start = threading.Barrier(6)

    def ask(_: int) -> object:
        start.wait()
        return predictor.encode(image, "shared")

    with ThreadPoolExecutor(6) as pool:
        embeddings = list(pool.map(ask, range(6)))

    assert len(counted) == 1
    assert all(embedding is embeddings[0] for embedding in embeddings)


def test_cached(predictor: Predictor) -> None:
    assert predictor.cached("a") is None

    embedding = predictor.encode(picture(20, 20), "a")

    assert predictor.cached("a") is embedding
    assert predictor.encode(picture(20, 20), "a") is embedding


def test_without_a_key_content_decides(predictor: Predictor) -> None:
    one = predictor.encode(picture(20, 30, seed=1))

    assert predictor.encode(picture(20, 30, seed=1)) is one
    assert predictor.encode(picture(20, 30, seed=2)) is not one
    assert predictor.encode(picture(20, 30, seed=1).reshape(30, 20, 3)) is not one


def test_a_key_used_twice_for_different_sizes_is_an_error(predictor: Predictor) -> None:
    predictor.encode(picture(20, 20), "a")

    with pytest.raises(PromptError, match="20x20"):
        predictor.encode(picture(30, 20), "a")


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


def test_warming_up_leaves_no_trace(checkpoint_path: Path, pictures: list[Picture]) -> None:
    cold, warm = Predictor(checkpoint_path), Predictor(checkpoint_path)

    warm.warm_up()

    assert warm._cache.nbytes == 0
    for a, b in zip(answers(cold, pictures[0]), answers(warm, pictures[0]), strict=True):
        assert np.array_equal(a, b)


@pytest.fixture
def two_versions(checkpoint_path: Path, tmp_path: Path) -> tuple[Predictor, Predictor]:
    """One predictor, and another version beside it."""
    first = Predictor(checkpoint_path, device="cpu")
    torch.manual_seed(7)
    other = tmp_path / "other"
    network = PhraseClick(first.config).eval()
    checkpoint.save(other, network, first.tokenizer.words, first.tokenizer.vectors)
    return first, Predictor(other, beside=first)


def test_versions_side_by_side_share_their_cache_but_not_what_is_in_it(
    two_versions: tuple[Predictor, Predictor], pictures: list[Picture], tmp_path: Path
) -> None:
    first, second = two_versions
    alone = Predictor(tmp_path / "other", device="cpu")

    # Both look at the same picture under the same key, one after the other.
    seen = [answers(version, pictures[0]) for version in (first, second, first, second)]

    assert second._cache is first._cache
    assert second._queue is first._queue
    for a, b in zip(seen[1], answers(alone, pictures[0]), strict=True):
        assert np.array_equal(a, b)
    assert all(np.array_equal(a, b) for a, b in zip(seen[0], seen[2], strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(seen[0], seen[1], strict=True))


def test_another_versions_embedding_is_refused(
    two_versions: tuple[Predictor, Predictor], pictures: list[Picture]
) -> None:
    first, second = two_versions

    with pytest.raises(PromptError, match=f"encoded by {first.version}"):
        second.predict(first.encode(pictures[0]), [Click(1, 1)])


def test_nbytes_counts_weights_and_words(two_versions: tuple[Predictor, Predictor]) -> None:
    first, second = two_versions
    weights = sum(t.numel() * 4 for t in first._network.parameters())

    assert first.nbytes == second.nbytes
    assert first.nbytes >= weights + first.tokenizer.vectors.nbytes


def test_the_papers_form_is_served_too(tmp_path: Path) -> None:
    config = ModelConfig(
        form="early",
        backbone="resnet18",
        backbone_norm="batch",
        padding="symmetric",
        input_size=96,
        channels=16,
        word_dim=8,
        phrase_dim=4,
        attributes=("red",),
    )
    vectors = np.ones((1, 8), np.float32)
    checkpoint.save(tmp_path / "early", PhraseClick(config), ["dog"], vectors)
    predictor = Predictor(tmp_path / "early")

    clicked, again = (answers(predictor, picture(64, 96)) for _ in range(2))

    assert clicked[0].shape == (64, 96)
    assert not np.array_equal(clicked[0], clicked[1])
    assert all(np.array_equal(a, b) for a, b in zip(clicked, again, strict=True))


def test_what_it_is_made_of(predictor: Predictor, checkpoint_path: Path) -> None:
    assert predictor.version.startswith("random-")
    assert predictor.config.form == "late"
    assert predictor.tokenizer.knows("red dog")


@pytest.mark.parametrize("name", ["cuda:77", "quantum"])
def test_a_device_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"on the device '{name}': .* Choose auto or cpu"):
        device_named(name)
