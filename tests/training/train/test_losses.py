"""The losses say what they should: right is cheap, wrong is dear, void is nothing."""

import pytest
import torch

from model.network.click_maps import ClickBatch
from model.network.phraseclick import Output
from training.prompts.clicks import EXACT
from training.prompts.questions import Batch, Question
from training.train.losses import (
    AttributeLoss,
    LossRecipe,
    around_corrections,
    ious,
    mask_loss,
    pixel_weights,
    total_loss,
)

RECIPE = LossRecipe()


def square(size: int = 32, half: int = 8) -> torch.Tensor:
    target = torch.zeros(1, 1, size, size)
    middle = size // 2
    target[..., middle - half : middle + half, middle - half : middle + half] = 1.0
    return target


def weights(target: torch.Tensor, recipe: LossRecipe = RECIPE) -> torch.Tensor:
    void = torch.zeros_like(target, dtype=torch.bool)
    return pixel_weights(target, void, torch.zeros(len(target), dtype=torch.bool), recipe)


def loss_of(
    logits: torch.Tensor,
    recipe: LossRecipe = RECIPE,
    clicks: ClickBatch | None = None,
    iou: torch.Tensor | None = None,
) -> float:
    """The total loss of an answer to a question about the square."""
    target = square()
    batch = Batch(
        torch.zeros(1, 3, 32, 32),
        torch.tensor([0]),
        [Question("", (), [], True, EXACT)],
        target,
        torch.zeros_like(target, dtype=torch.bool),
        None,
        torch.tensor([False]),
        ["picture"],
    )
    output = Output(logits, torch.zeros(1, 0), None, 32, 32, iou)
    return float(total_loss(output, batch, AttributeLoss(()), recipe, clicks, target)[0])


@pytest.mark.parametrize("recipe", [RECIPE, LossRecipe(dice=0.0), LossRecipe(cross_entropy=0.0)])
def test_right_is_cheap_and_wrong_is_dear(recipe: LossRecipe) -> None:
    target = square()
    logits = (target - 0.5) * 20
    right = mask_loss(logits, target, weights(target), recipe)
    unsure = mask_loss(logits * 0, target, weights(target), recipe)
    wrong = mask_loss(-logits, target, weights(target), recipe)
    assert right < 0.01
    assert right < unsure < wrong


def test_an_empty_answer_to_an_empty_question_is_right() -> None:
    target = torch.zeros(1, 1, 32, 32)
    empty = mask_loss(torch.full_like(target, -9), target, weights(target), RECIPE)
    full = mask_loss(torch.full_like(target, 9), target, weights(target), RECIPE)
    assert empty < 0.1
    assert full > 1.0


def test_void_pixels_change_nothing() -> None:
    target = square()
    void = torch.zeros_like(target, dtype=torch.bool)
    void[..., :6] = True
    weight = pixel_weights(target, void, torch.tensor([False]), RECIPE)
    logits = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    other = logits.clone()
    other[void] = 50.0
    assert mask_loss(logits, target, weight, RECIPE) == mask_loss(other, target, weight, RECIPE)


def test_the_border_weighs_more_and_a_coarse_one_less() -> None:
    target = square(64, 16)
    plain = weights(target)
    void = torch.zeros_like(target, dtype=torch.bool)
    coarse = pixel_weights(target, void, torch.tensor([True]), RECIPE)
    inside, edge = (0, 0, 32, 32), (0, 0, 32, 16)
    assert plain[inside] == 1.0
    assert plain[edge] == 1.0 + RECIPE.border
    assert coarse[edge] == plain[edge] * RECIPE.coarse_border
    assert coarse[inside] == plain[inside]
    assert (weights(target, LossRecipe(border=0.0)) == 1.0).all()


def test_surroundings_of_a_correction_are_those_of_its_newest_click() -> None:
    # given two clicks, one click, none, and one on an empty mask; padded
    target = square().expand(4, -1, -1, -1)
    previous = torch.ones_like(target)
    previous[3] = 0.0
    xy = torch.tensor([[[4.5, 4.5], [20.5, 12.5]], [[4.5, 4.5], [0, 0]], [[0, 0], [0, 0]]])
    xy = torch.cat([xy, xy[1:2]])
    sign = torch.tensor([[1.0, -1.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    # when
    near = around_corrections(ClickBatch(xy, sign), previous, target)
    # then
    assert near.shape == target.shape
    assert near[0].flatten().argmax() == 12 * 32 + 20
    assert near[1].flatten().argmax() == 4 * 32 + 4
    assert near[:2].amax() == 1.0
    assert near[0, 0, 31, 0] < 0.1
    assert not near[2:].any()
    assert not around_corrections(ClickBatch(xy, sign), None, target).any()


def test_an_error_beside_a_correction_costs_more() -> None:
    # given an output that is wrong at one place
    target = square()
    logits = (target - 0.5) * 20
    logits[..., 8:12, 8:12] *= -1

    # when it is corrected there, elsewhere, or nowhere
    def loss(x: float | None) -> float:
        clicks = None if x is None else ClickBatch(torch.full((1, 1, 2), x), torch.ones(1, 1))
        return loss_of(logits, LossRecipe(correction=3.0), clicks)

    # then
    assert loss(10.0) > loss(None) > loss(24.0)


def test_rare_attributes_weigh_more() -> None:
    # given attribute 0 in every phrase, attribute 1 in one of ten
    loss = AttributeLoss(("dog", "red"))
    dog, red, both = (
        Question("", names, [], True, EXACT) for names in (("dog",), ("red",), ("red", "dog"))
    )
    for _ in range(20):
        loss(torch.zeros(10, 2), [both, *[dog] * 9])
    # when each is missed once
    missed_common = loss(torch.tensor([[-5.0, -5.0]]), [dog])
    missed_rare = loss(torch.tensor([[-5.0, -5.0]]), [red])
    # then
    assert missed_rare > 2 * missed_common


def test_iou_counts_what_is_asked_and_what_is_found_but_no_void() -> None:
    # given an answer that is right, one that finds half of it, and nothing where nothing is asked
    target = torch.cat([square(), square(), torch.zeros(1, 1, 32, 32)])
    logits = (target - 0.5) * 9
    logits[1, :, :, :16] = -9.0
    void = torch.zeros_like(target, dtype=torch.bool)
    assert ious(logits, target, void).tolist() == [1.0, 0.5, 1.0]
    # then what is missing does not count where nothing is known
    void[1, :, :, :16] = True
    assert ious(logits, target, void).tolist() == [1.0, 1.0, 1.0]


def test_the_papers_loss_is_plain_cross_entropy() -> None:
    # given the recipe of the paper: no dice, no heavier borders
    paper = LossRecipe(dice=0.0, border=0.0, coarse_border=1.0)
    target = square()
    logits = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    p = torch.sigmoid(logits.double())
    slow = -(target * p.log() + (1 - target) * (1 - p).log()).mean()
    loss = mask_loss(logits, target, weights(target, paper), paper)
    assert float(loss) == pytest.approx(float(slow), rel=1e-5)


def test_the_mask_is_compared_at_the_resolution_of_its_logits() -> None:
    # given logits at stride 2 that are right
    right = (torch.nn.functional.avg_pool2d(square(), 2) - 0.5) * 20
    # then they cost hardly anything, and wrong ones much
    assert loss_of(right) < 0.05
    assert loss_of(-right) > 1.0


def test_the_iou_head_is_compared_with_the_iou_that_was_reached() -> None:
    # given a perfect mask
    logits = (torch.nn.functional.avg_pool2d(square(), 2) - 0.5) * 20
    # then to be sure of it costs less than to doubt it
    sure, unsure, wrong = (loss_of(logits, iou=torch.tensor([x])) for x in (6.0, 0.0, -6.0))
    assert sure < unsure < wrong
