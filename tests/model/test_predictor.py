"""The predictor's promises for any picture, order of calls and number of threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model import checkpoint
from model.config import ModelConfig
from model.errors import CheckpointError, PromptError
from model.inference import device_named
from model.network.phraseclick import PhraseClick
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
