"""Both forms of the network: shapes, equal ways to the same answer, every prompt heard."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import ModelConfig
from model.network.click_maps import ClickBatch, no_clicks
from model.network.phrase_encoder import WordBatch, no_words
from model.network.phraseclick import Output, PhraseClick

LATE = ModelConfig(input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog"))
EARLY = ModelConfig(
    form="early",
    backbone="resnet18",
    backbone_norm="batch",
    padding="symmetric",
    channels=32,
    word_dim=8,
    phrase_dim=4,
    attributes=("red", "dog"),
)


def prompts(batch: int) -> tuple[ClickBatch, WordBatch, Tensor]:
    generator = torch.Generator().manual_seed(5)
    xy = torch.rand(batch, 3, 2, generator=generator) * 64
    sign = torch.tensor([[1.0, -1.0, 0.0]]).repeat(batch, 1)
    words = torch.randn(batch, 4, 8, generator=generator)
    length = torch.arange(batch) % 4 + 1
    previous = (torch.rand(batch, 1, 64, 96, generator=generator) > 0.5).float()
    return ClickBatch(xy, sign), WordBatch(words, length), previous


def same(one: Output, other: Output) -> bool:
    return bool(
        torch.allclose(one.mask_logits, other.mask_logits, atol=1e-4)
        and torch.allclose(one.attribute_logits, other.attribute_logits, atol=1e-4)
    )


def network(config: ModelConfig) -> PhraseClick:
    torch.manual_seed(0)
    return PhraseClick(config).eval()


FULL = replace(
    LATE,
    fine_phrase_queries=2,
    relation_layers=1,
    channels4=12,
    channels2=6,
    fine_prompts=True,
    box_prompts=True,
    iou_head=True,
)


@pytest.mark.parametrize(
    ("config", "stride"), [(LATE, 2), (FULL, 2), (EARLY, 4)], ids=["late", "full", "early"]
)
@torch.no_grad()
def test_shapes(config: ModelConfig, stride: int) -> None:
    clicks, words, previous = prompts(2)

    out = network(config)(torch.rand(2, 3, 64, 96), clicks, words, previous)

    assert out.mask_logits.shape == (2, 1, 64 // stride, 96 // stride)
    assert out.logits_full().shape == (2, 1, 64, 96)
    assert out.attribute_logits.shape == (2, 2)
    assert bool(torch.isfinite(out.mask_logits).all())


@torch.no_grad()
def test_the_papers_network_on_resnet101() -> None:
    config = ModelConfig(
        form="early", backbone="resnet101", word_dim=8, phrase_dim=4, attributes=("red",)
    )
    clicks, words, _ = prompts(1)

    out = network(config)(torch.rand(1, 3, 64, 96), clicks, words)

    assert out.logits_full().shape == (1, 1, 64, 96)
    first = next(network(config).backbone.convolutions())
    assert first.in_channels == 5


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
@torch.no_grad()
def test_encode_then_decode_is_forward(config: ModelConfig) -> None:
    net = network(config)
    clicks, words, previous = prompts(2)
    image = torch.rand(2, 3, 64, 96)

    apart = net.decode(net.encode(image), clicks, words, previous)

    assert same(apart, net(image, clicks, words, previous))


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
@torch.no_grad()
def test_prompts_about_one_picture_are_as_if_it_were_repeated(config: ModelConfig) -> None:
    net = network(config)
    clicks, words, previous = prompts(4)
    image = torch.rand(2, 3, 64, 96)
    index = torch.tensor([1, 0, 1, 1])

    shared = net(image, clicks, words, previous, picture_index=index)

    assert same(shared, net(image[index], clicks, words, previous))


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
@torch.no_grad()
def test_rows_do_not_mix(config: ModelConfig) -> None:
    net = network(config)
    clicks, words, previous = prompts(3)
    image = torch.rand(3, 3, 64, 96)
    whole = net(image, clicks, words, previous)

    row = net(
        image[1:2],
        ClickBatch(clicks.xy[1:2], clicks.sign[1:2]),
        WordBatch(words.vectors[1:2], words.length[1:2]),
        previous[1:2],
    )

    assert torch.allclose(whole.mask_logits[1], row.mask_logits[0], atol=1e-4)


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
@torch.no_grad()
def test_without_a_phrase_words_say_nothing(config: ModelConfig) -> None:
    net = network(config)
    clicks, words, previous = prompts(2)
    image = torch.rand(2, 3, 64, 96)

    ignored = net(image, clicks, WordBatch(words.vectors, torch.zeros(2).long()), previous)

    assert same(ignored, net(image, clicks, no_words(2, 8), previous))
    assert not same(ignored, net(image, clicks, words, previous))


@torch.no_grad()
def test_padding_clicks_say_nothing() -> None:
    net = network(LATE)
    _, words, _ = prompts(1)
    image = torch.rand(1, 3, 64, 96)
    padding = ClickBatch(torch.rand(1, 4, 2) * 60, torch.zeros(1, 4))

    assert same(net(image, padding, words), net(image, no_clicks(1), words))


@pytest.mark.parametrize("what", ["click", "sign", "phrase", "previous"])
@torch.no_grad()
def test_every_prompt_has_an_effect(what: str) -> None:
    net = network(LATE)
    clicks, words, previous = prompts(1)
    image = torch.rand(1, 3, 64, 96)
    before = net(image, clicks, words, previous)

    if what == "click":
        clicks = ClickBatch(clicks.xy.flip(2), clicks.sign)
    elif what == "sign":
        clicks = ClickBatch(clicks.xy, -clicks.sign)
    elif what == "phrase":
        words = WordBatch(-words.vectors, words.length)
    else:
        previous = 1 - previous

    assert not same(before, net(image, clicks, words, previous))


@torch.no_grad()
def test_an_empty_previous_mask_is_none() -> None:
    net = network(LATE)
    clicks, words, previous = prompts(1)
    image = torch.rand(1, 3, 64, 96)

    assert same(net(image, clicks, words, torch.zeros_like(previous)), net(image, clicks, words))


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
def test_every_parameter_learns(config: ModelConfig) -> None:
    net = network(config).train()
    clicks, words, previous = prompts(3)
    out = net(torch.rand(3, 3, 64, 96), clicks, words, previous)
    loss = out.mask_logits.square().mean() + out.attribute_logits.square().mean()
    if out.coarse_logits is not None:
        loss = loss + out.coarse_logits.square().mean()

    loss.backward()

    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize("config", [LATE, EARLY], ids=["late", "early"])
def test_folding_norms_changes_nothing(config: ModelConfig) -> None:
    net = network(config).train()
    clicks, words, previous = prompts(3)
    image = torch.rand(3, 3, 64, 96)
    net(image, clicks, words, previous)  # moves the norms' statistics away from their start
    net.eval()
    served = copy.deepcopy(net).for_serving()

    with torch.inference_mode():
        assert same(served(image, clicks, words, previous), net(image, clicks, words, previous))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in served.decoder.modules())


@torch.no_grad()
def test_features_know_their_memory() -> None:
    features = network(LATE).encode(torch.rand(1, 3, 64, 96))

    assert features.nbytes == sum(4 * m.numel() for m in features.maps)


@torch.no_grad()
def test_a_box_changes_the_answer_only_where_it_is_given() -> None:
    # Given a network with box prompts and two prompts about one picture
    clicks, words, previous = prompts(2)
    net = network(FULL)
    image = torch.rand(2, 3, 64, 96)
    without = net(image, clicks, words, previous)
    # When the second prompt has a box
    boxes = torch.tensor([[0.0, 0.0, 0.0, 0.0], [10.0, 10.0, 60.0, 50.0]])
    boxed = net(image, clicks, words, previous, boxes=boxes)
    # Then only its answer changes
    assert torch.allclose(without.mask_logits[0], boxed.mask_logits[0], atol=1e-5)
    assert not torch.allclose(without.mask_logits[1], boxed.mask_logits[1], atol=1e-3)


def test_the_iou_head_learns_without_changing_the_mask() -> None:
    # Given a network with an IoU head
    net = network(FULL)
    clicks, words, previous = prompts(2)
    out = net(torch.rand(2, 3, 64, 96), clicks, words, previous)
    assert out.iou_logits is not None
    assert out.iou_logits.shape == (2,)
    # When its prediction is learned from
    out.iou_logits.sum().backward()
    # Then only the head has gradients
    learned = {name for name, value in net.named_parameters() if value.grad is not None}
    assert learned
    assert all(name.startswith("decoder.iou_head.") for name in learned)


def test_every_convolution_reads_channels_last() -> None:
    """Convolutions and sums over mixed layouts take up to five times as long on a CPU."""
    # given a network whose layers note the layout of what they read
    phraseclick = network(FULL).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    contiguous: list[str] = []

    def note(name: str, x: Tensor) -> None:
        several = x.ndim == 4 and min(x.shape[1:]) > 1
        if several and not x.is_contiguous(memory_format=torch.channels_last):
            contiguous.append(name)

    for name, module in phraseclick.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_pre_hook(lambda _, inputs, name=name: note(name, inputs[0]))

    # when three prompts are decoded on two pictures
    clicks, words, previous = prompts(3)
    features = phraseclick.encode(torch.rand(2, 3, 64, 96))
    phraseclick.decode(features, clicks, words, previous, torch.tensor([0, 1, 1]))

    # then
    assert contiguous == []
