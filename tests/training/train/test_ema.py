"""The averaged weights follow: at once at first, slowly later, and counts as they are."""

import pytest
import torch

from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from training.train.ema import Average

CONFIG = ModelConfig(attributes=("red",), input_size=96, channels=16, word_dim=8, phrase_dim=8)


def test_an_average_is_the_sum_of_what_was_weighed_by_age() -> None:
    # given
    network = PhraseClick(CONFIG)
    average = Average(network, PhraseClick(CONFIG), decay=0.5)
    weight, mean = network.phrase.lstm.bias_hh_l0, average.network.phrase.lstm.bias_hh_l0
    assert torch.equal(weight, mean)
    # when the weights move, late enough that the recipe's decay holds
    with torch.no_grad():
        expected = weight.detach().clone()
        for step in range(100, 103):
            weight.add_(1.0)
            expected = 0.5 * expected + 0.5 * weight
            average.follow(step)
    # then
    torch.testing.assert_close(mean.detach(), expected)
    assert not mean.requires_grad


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (10, 0.55), (10_000, 0.999)])
def test_it_forgets_its_beginnings(step: int, kept: float) -> None:
    network = PhraseClick(CONFIG)
    average = Average(network, PhraseClick(CONFIG), decay=0.999)
    bias = network.phrase.lstm.bias_hh_l0
    with torch.no_grad():
        before = bias.clone()
        bias.add_(1.0)
    average.follow(step)
    mean = average.network.phrase.lstm.bias_hh_l0
    torch.testing.assert_close(mean.detach(), before + (1 - kept), atol=1e-3, rtol=0)


def test_running_statistics_are_averaged_and_their_counts_copied() -> None:
    network = PhraseClick(CONFIG)
    average = Average(network, PhraseClick(CONFIG), decay=0.0)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    copies = [m for m in average.network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    norms[0].running_mean.fill_(3.0)  # type: ignore[union-attr]
    norms[0].num_batches_tracked.fill_(7)  # type: ignore[union-attr]
    average.follow(1000)
    assert copies[0].running_mean.eq(3.0).all()  # type: ignore[union-attr]
    assert copies[0].num_batches_tracked == 7
