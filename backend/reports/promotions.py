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
from backend.reports.cost_frame import CostFrame, Flags, Ints
from backend.reports.group_by import around
from backend.reports.records import (
    SIZE_BOUNDS,
    SIZES,
    BeforeAfter,
    PromotionMark,
    SizeClass,
    Stratum,
)


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
    begun = frame.regions.first_at
    usable = frame.regions.known & ~np.isnan(begun)
    times = [-np.inf, *(mark.at.timestamp() for mark in promotions), np.inf]
    return [
        _compare(
            frame,
            mark,
            usable & (begun >= since) & (begun < at),
            usable & (begun >= at) & (begun < until),
        )
        for mark, since, at, until in zip(promotions, times, times[1:], times[2:], strict=False)
    ]


_ORDER: tuple[SizeClass, ...] = (*SIZES, "unknown")


def _compare(frame: CostFrame, mark: PromotionMark, before: Flags, after: Flags) -> BeforeAfter:
    regions = frame.regions
    key = regions.label * len(_ORDER) + _sizes(frame)
    strata, weights, pulls, tasks = [], [], [], []
    for number in np.intersect1d(key[before], key[after]):
        label, size = divmod(int(number), len(_ORDER))
        sides = [side & (key == number) for side in (before, after)]
        values = [regions.interactions[side] for side in sides]
        counts = [len(of_side) for of_side in values]
        means = [float(of_side.mean()) for of_side in values]
        # The inverse variance of a difference of two means, for equal variances.
        weight = counts[0] * counts[1] / sum(counts)
        for sign, side, of_side, mean in zip((-1.0, 1.0), sides, values, means, strict=True):
            pulls.append(sign * weight * (of_side - mean) / len(of_side))
            tasks.append(regions.task[side])
        strata.append(Stratum(frame.labels[label], _ORDER[size], *counts, *means))
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
        n_before=int(before.sum()),
        n_after=int(after.sum()),
        matched_before=matched_before,
        matched_after=matched_after,
        before=mean_before,
        after=mean_after,
        difference=difference,
        strata=tuple(sorted(strata, key=lambda s: (s.label, _ORDER.index(s.size)))),
    )


def _sizes(frame: CostFrame) -> Ints:
    """Each region's place in ``_ORDER``."""
    area, pixels = np.nan_to_num(frame.regions.area), np.nan_to_num(frame.regions.pixels)
    known = (area > 0) & (pixels > 0)
    share = np.divide(area, pixels, out=np.zeros(len(area)), where=known)
    return np.where(known, np.digitize(share, SIZE_BOUNDS), _ORDER.index("unknown"))
