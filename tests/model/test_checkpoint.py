"""Checkpoints on disk, and word vectors in eight bits."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint
from model import checkpoint_files as files
from model.checkpoint import dequantise, quantise
from model.errors import CheckpointError
from model.network.phraseclick import PhraseClick


def reseal(path: Path) -> None:
    """Make the sums true again, as someone who edits a checkpoint on purpose would."""
    contents = {name: (path / name).read_bytes() for name in files.FILES}
    (path / files.SUMS).write_text(files.sums_text(contents))


@pytest.fixture
def copy(checkpoint_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint_path, tmp_path / "copy"))


def test_comes_back_as_it_was(checkpoint_path: Path, small_network: PhraseClick) -> None:
    loaded = checkpoint.load(checkpoint_path)

    assert loaded.config == small_network.config
    assert loaded.metrics["metrics"] == {"iou": 0.5}
    assert loaded.tokenizer().words == loaded.words
    before, after = small_network.state_dict(), loaded.network().state_dict()
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.allclose(tensor, after[name], rtol=2**-10, atol=1e-6), name
        assert after[name].dtype == tensor.dtype


def test_half_precision_does_not_move_the_mask(
    checkpoint_path: Path, small_network: PhraseClick
) -> None:
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    from model.network.click_maps import ClickBatch
    from model.network.phrase_encoder import no_words

    clicks = ClickBatch(torch.tensor([[[30.0, 20.0]]]), torch.tensor([[1.0]]))
    with torch.no_grad():
        before = small_network(image, clicks, no_words(1, 8)).mask_logits.sigmoid()
        network = checkpoint.load(checkpoint_path).network().eval()
        after = network(image, clicks, no_words(1, 8)).mask_logits.sigmoid()

    assert float((before - after).abs().max()) < 0.01


def test_version_names_the_weights(
    small_network: PhraseClick, checkpoint_path: Path, tmp_path: Path
) -> None:
    words, vectors = ["dog"], np.ones((1, 8), np.float32)

    version = checkpoint.save(tmp_path / "a", small_network, words, vectors, name="phraseclick")
    again = checkpoint.save(tmp_path / "b", small_network, words, vectors, name="phraseclick")
    other = checkpoint.save(tmp_path / "c", small_network, words, vectors * 2, name="phraseclick")

    assert version == again != other
    assert version.startswith("phraseclick-")
    assert checkpoint.load(tmp_path / "a").version == version
    assert len(version.removeprefix("phraseclick-")) == 8


def test_parent_is_kept(small_network: PhraseClick, tmp_path: Path) -> None:
    vectors = np.ones((1, 8), np.float32)

    checkpoint.save(tmp_path / "child", small_network, ["dog"], vectors, parent="mother-12345678")

    assert checkpoint.load(tmp_path / "child").metrics["parent"] == "mother-12345678"


def test_a_checkpoint_is_never_overwritten(
    small_network: PhraseClick, checkpoint_path: Path
) -> None:
    before = (checkpoint_path / files.WEIGHTS).read_bytes()

    with pytest.raises(CheckpointError, match="never overwritten"):
        checkpoint.save(checkpoint_path, small_network, ["dog"], np.ones((1, 8), np.float32))

    assert (checkpoint_path / files.WEIGHTS).read_bytes() == before


def test_a_failed_save_leaves_nothing(
    small_network: PhraseClick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_synced", full_disk)

    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint.save(tmp_path / "new", small_network, ["dog"], np.ones((1, 8), np.float32))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", files.FILES)
def test_one_changed_bit_is_found(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(bytes(data))

    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", files.FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()

    with pytest.raises(CheckpointError, match=name):
        checkpoint.load(copy)


@pytest.mark.parametrize("name", files.FILES)
def test_a_file_without_a_sum_is_not_trusted(copy: Path, name: str) -> None:
    lines = (copy / files.SUMS).read_text().splitlines()
    (copy / files.SUMS).write_text("\n".join(line for line in lines if name not in line))

    with pytest.raises(CheckpointError, match=f"does not name {name}"):
        checkpoint.load(copy)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (files.CONFIG, '{"form": "late", "channels": 64, "word_dim": 8}', "do not fit"),
        (files.CONFIG, '{"form": "sideways"}', "early"),
        (files.CONFIG, "not json", "not a checkpoint"),
        (files.CONFIG, "[" * 100_000, "not a checkpoint"),
        (files.CONFIG, '{"input_size": 10000000}', "input_size cannot be 10000000"),
        (files.CONFIG, '{"input_size": "384"}', "input_size cannot be '384'"),
        (files.CONFIG, '{"pixel_mean": [0.5]}', "pixel_mean cannot be"),
        (files.VOCABULARY, '["dog"]', "1 words need vectors"),
        (files.VOCABULARY, "null", "not a checkpoint"),
        (files.VOCABULARY, '{"words": ["dog", 7]}', "something else than words"),
        (files.METRICS, "{}", "version"),
        (files.METRICS, '{"version": "a", "metrics": null}', "metrics are no object"),
        (files.WEIGHTS, "\x00\x01pickle?", "not a checkpoint"),
    ],
)
def test_true_sums_over_wrong_content(copy: Path, name: str, content: str, message: str) -> None:
    (copy / name).write_text(content)
    reseal(copy)

    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(copy).network()


def test_weights_that_are_no_numbers_are_refused(
    small_network: PhraseClick, tmp_path: Path
) -> None:
    diverged = deepcopy(small_network)
    with torch.no_grad():
        next(diverged.parameters()).fill_(float("nan"))
    checkpoint.save(tmp_path / "new", diverged, ["dog"], np.ones((1, 8), np.float32))

    with pytest.raises(CheckpointError, match="are not finite"):
        checkpoint.load(tmp_path / "new")


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        checkpoint.load(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="no readable SHA256SUMS"):
        checkpoint.load(tmp_path)


def test_configuration_is_readable_json(checkpoint_path: Path) -> None:
    config = json.loads((checkpoint_path / files.CONFIG).read_text())

    assert config["form"] == "late"
    assert config["attributes"] == ["red", "dog", "left"]


def test_the_rounding_is_small_and_happens_once() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    vectors[3] = 0

    stored = dequantise(*quantise(vectors))

    largest = np.abs(vectors).max(1, keepdims=True)
    assert (np.abs(stored - vectors) <= largest / 250).all()
    assert np.array_equal(dequantise(*quantise(stored)), stored)
