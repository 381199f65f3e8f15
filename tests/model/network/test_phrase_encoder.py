"""The phrase state: last states, padding, silence."""

import torch

from model.network.phrase_encoder import PhraseEncoder, WordBatch, no_words


def encoder() -> PhraseEncoder:
    torch.manual_seed(0)
    return PhraseEncoder(6, 3).eval()


def test_the_state_is_the_last_of_each_direction() -> None:
    network = encoder()
    words = torch.randn(1, 4, 6)

    state = network(WordBatch(words, torch.tensor([4])))

    steps, _ = network.lstm(words)
    assert torch.allclose(state[0, :3], steps[0, -1, :3])
    assert torch.allclose(state[0, 3:], steps[0, 0, 3:])


def test_padding_does_not_count() -> None:
    network = encoder()
    words = torch.randn(2, 5, 6)
    short = network(WordBatch(words[:1, :2], torch.tensor([2])))

    both = network(WordBatch(words, torch.tensor([2, 5])))

    assert torch.allclose(both[0], short[0], atol=1e-6)


def test_no_phrase_is_zero() -> None:
    network = encoder()
    words = torch.randn(3, 2, 6)

    state = network(WordBatch(words, torch.tensor([0, 2, 0])))

    assert torch.equal(state[0], torch.zeros(6))
    assert torch.equal(state[2], torch.zeros(6))
    assert bool(state[1].abs().sum() > 0)
    assert torch.equal(network(no_words(2, 6)), torch.zeros(2, 6))


def test_the_order_of_words_matters() -> None:
    network = encoder()
    words = torch.randn(1, 3, 6)
    length = torch.tensor([3])

    assert not torch.allclose(
        network(WordBatch(words, length)), network(WordBatch(words.flip(1), length))
    )
