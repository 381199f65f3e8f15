"""A network that grew answers as before until it has learned something new."""

import dataclasses

import numpy as np
import pytest
import torch

from model.config import ModelConfig
from model.network.click_maps import ClickBatch
from model.network.phrase_encoder import WordBatch
from model.network.phraseclick import PhraseClick
from model.tokenizer import Tokenizer
from training.errors import RecipeError
from training.prompts.questions import word_batch
from training.train.initialisation import grow_from, remap_words, with_other_words

SMALL = ModelConfig(channels=32, word_dim=8, phrase_dim=8, embedding_dim=8, attributes=("dog",))
GROWN = dataclasses.replace(
    SMALL,
    relation_layers=1,
    fine_phrase_queries=4,
    channels4=12,
    channels2=6,
    fine_prompts=True,
    box_prompts=True,
    iou_head=True,
)


def answer(network: PhraseClick) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    clicks = ClickBatch(torch.rand(2, 2, 2, generator=rng) * 60, torch.tensor([[1.0, -1], [1, 1]]))
    words = WordBatch(torch.rand(2, 3, 8, generator=rng), torch.tensor([3, 0]))
    image = torch.rand(2, 3, 64, 64, generator=rng)
    with torch.no_grad():
        return network.eval()(image, clicks, words).mask_logits


def test_a_grown_network_starts_where_the_small_one_stopped() -> None:
    torch.manual_seed(0)
    small, grown = PhraseClick(SMALL), PhraseClick(GROWN)

    grow_from(grown, small.state_dict())

    assert torch.allclose(answer(grown), answer(small), atol=1e-5)


def test_the_new_parts_learn() -> None:
    torch.manual_seed(0)
    small, grown = PhraseClick(SMALL), PhraseClick(GROWN)
    grow_from(grown, small.state_dict())
    image = torch.rand(1, 3, 64, 64)
    clicks = ClickBatch(torch.tensor([[[20.0, 30.0]]]), torch.ones(1, 1))
    output = grown(image, clicks, WordBatch(torch.rand(1, 2, 8), torch.tensor([2])))

    output.mask_logits.square().mean().backward()

    gradients = {name: parameter.grad for name, parameter in grown.decoder.named_parameters()}
    for name, inputs in (("self_attention.project_out.weight", 0), ("prompt8.weight", -4)):
        gradient = gradients[name]
        assert gradient is not None
        assert gradient[:, inputs:].abs().sum() > 0


def test_a_network_does_not_shrink() -> None:
    with pytest.raises(RecipeError, match="only grow"):
        grow_from(
            PhraseClick(SMALL), PhraseClick(dataclasses.replace(SMALL, channels=48)).state_dict()
        )
    with pytest.raises(RecipeError, match="lacks"):
        grow_from(PhraseClick(SMALL), PhraseClick(GROWN).state_dict())


def tokenizers() -> tuple[Tokenizer, Tokenizer]:
    """Words of 8 dimensions, and most of them and others turned into 12."""
    rng = np.random.default_rng(0)
    words = ["the", "left", "red", "second", *(f"thing{letter}" for letter in "abcdefghij")]
    vectors = rng.normal(size=(len(words), 8)).astype(np.float32)
    turned = vectors @ rng.normal(size=(8, 12)) / 8**0.5
    other = rng.normal(size=(1, 12))
    return (
        Tokenizer(words, vectors),
        Tokenizer([*words[:-1], "new"], np.concatenate([turned[:-1], other]), geometry=True),
    )


def test_what_was_learned_of_words_is_carried_over_to_other_vectors() -> None:
    torch.manual_seed(0)
    old, new = tokenizers()
    small = PhraseClick(SMALL).eval()
    grown = PhraseClick(dataclasses.replace(SMALL, word_dim=new.dim, word_geometry=True)).eval()

    grow_from(grown, with_other_words(small.state_dict(), remap_words(old, new)))

    for phrase in ("the thinga", "left thingb", "second red thingc", "thingd"):
        before = small.phrase(word_batch([phrase], old))
        after = grown.phrase(word_batch([phrase], new))
        assert torch.allclose(before, after, atol=0.02), phrase


def test_vocabularies_without_a_common_word_share_nothing() -> None:
    old, _ = tokenizers()
    other = Tokenizer(["einhorn", "drache"], np.eye(2, 12, dtype=np.float32))
    with pytest.raises(RecipeError, match="in common"):
        remap_words(old, other)
