"""A run whose network has no batch norms, so that its pictures do not see each other."""

import copy

from model.network.blocks import fold_norms
from training.train.loop import Run
from training.train.optimization import Average, make_optimizer


def without_norms(run: Run) -> None:
    """Fold the norms of a run that has not begun; what depends on the network is made anew."""
    fold_norms(run.network)
    for parameter in run.network.parameters():
        parameter.requires_grad_(True)
    # Its checkpoints do not fit its configuration, so none is loaded to calibrate it.
    run.val = None
    run.average = Average(run.network, copy.deepcopy(run.network), run.recipe.train.ema)
    run.optimizer = make_optimizer(run.network, run.recipe.train)
