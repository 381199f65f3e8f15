"""Did clicks fall? Objects begun before and after a promotion, compared like with like.

Weeks differ in what is labeled: more cats than cables, larger objects than before. So objects are
compared within one label and size class, and the differences of these strata are averaged, each
weighted by its numbers.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from backend.label_studio.payloads import Project
from backend.registry import champions as promotion_log
from backend.registry.champions import EVERYONE, Champions
from backend.reports.cost_frame import CostFrame, Rows
from backend.reports.group_by import around
from backend.reports.records import SIZES, BeforeAfter, PromotionMark, Stratum


def champion(connection: Connection, project: str) -> str:
    """The version that serves a project; '' for the configured checkpoint."""
    return Champions.after(promotion_log.history(connection)).of(Project.read(project))


def marks(connection: Connection, project: str) -> list[PromotionMark]:
    """Promotions and rollbacks that changed which version serves the project, oldest first."""
    history = promotion_log.history(connection)
    owner = Project.read(project)
    marked = []
    served = Champions.after([]).of(owner)
    for number, change in enumerate(history, 1):
        if change.project not in (EVERYONE, project):
            continue
        serves = Champions.after(history[:number]).of(owner)
        if serves != served:
            marked.append(
                PromotionMark(
                    change.id, change.at, change.kind, serves, served, change.who, change.why
                )
            )
        served = serves
    return marked


def before_and_after(frame: CostFrame, promotions: Sequence[PromotionMark]) -> list[BeforeAfter]:
    """What each promotion changed in the clicks per object."""
    regions = frame.regions[frame.regions.known & ~np.isnan(frame.regions.first_at)]
    # The regions that were begun between two promotions.
    times = [mark.at.timestamp() for mark in promotions]
    period = np.searchsorted(times, regions.first_at, side="right")
    return [
        _compare(mark, regions[period == number], regions[period == number + 1])
        for number, mark in enumerate(promotions)
    ]


def _compare(mark: PromotionMark, before: Rows, after: Rows) -> BeforeAfter:
    sides = _strata(before), _strata(after)
    strata, weights, pulls, tasks = [], [], [], []
    for label, size in sorted(sides[0].keys() & sides[1].keys()):
        parts = [side[label, size] for side in sides]
        counts = [len(part) for part in parts]
        means = [float(part.interactions.mean()) for part in parts]
        # The inverse variance of a difference of two means, for equal variances.
        weight = counts[0] * counts[1] / sum(counts)
        for sign, part, mean in zip((-1.0, 1.0), parts, means, strict=True):
            pulls.append(sign * weight * (part.interactions - mean) / len(part))
            tasks.append(part.task)
        strata.append(Stratum(label, SIZES[size], *counts, *means))
        weights.append(weight)
    matched_before, matched_after = sum(s.n_before for s in strata), sum(s.n_after for s in strata)
    mean_before = mean_after = difference = None
    if strata:
        mean_before = float(np.average([s.before for s in strata], weights=weights))
        mean_after = float(np.average([s.after for s in strata], weights=weights))
        difference = around(
            mean_after - mean_before,
            np.concatenate(pulls) / sum(weights),
            np.concatenate(tasks),
            matched_before + matched_after,
        )
    return BeforeAfter(
        promotion=mark,
        n_before=len(before),
        n_after=len(after),
        matched_before=matched_before,
        matched_after=matched_after,
        before=mean_before,
        after=mean_after,
        difference=difference,
        strata=tuple(strata),
    )


def _strata(regions: Rows) -> dict[tuple[str, int], Rows]:
    """Regions by label and the place of their size in ``SIZES``."""
    return {
        (label, SIZES.index(size)): regions[(regions.label == label) & (regions.size_class == size)]
        for label, size in set(zip(regions.label, regions.size_class, strict=True))
    }
