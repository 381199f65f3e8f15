"""Did clicks fall? Objects begun before and after a promotion, compared like with like.

Weeks differ in what is labeled: more cats than cables, larger objects than before. So objects are
compared within one label and size class, and the differences of these strata are averaged, each
weighted by its numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    Interval,
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


@dataclass(frozen=True)
class _Part:
    """A stratum, its regions on both sides, and its weight before the weights are normalized."""

    stratum: Stratum
    before: Flags
    after: Flags

    @property
    def weight(self) -> float:
        # The inverse variance of a difference of two means, for equal variances.
        one, other = self.stratum.n_before, self.stratum.n_after
        return one * other / (one + other)


def _compare(frame: CostFrame, mark: PromotionMark, before: Flags, after: Flags) -> BeforeAfter:
    parts = _parts(frame, before, after)
    total = sum(part.weight for part in parts)
    strata = sorted((p.stratum for p in parts), key=lambda s: (s.label, _ORDER.index(s.size)))
    return BeforeAfter(
        promotion=mark,
        n_before=int(before.sum()),
        n_after=int(after.sum()),
        matched_before=sum(s.n_before for s in strata),
        matched_after=sum(s.n_after for s in strata),
        before=sum(p.weight * p.stratum.before for p in parts) / total if parts else None,
        after=sum(p.weight * p.stratum.after for p in parts) / total if parts else None,
        difference=_difference(frame, parts, total) if parts else None,
        strata=tuple(strata),
    )


def _parts(frame: CostFrame, before: Flags, after: Flags) -> list[_Part]:
    regions = frame.regions
    key = regions.label * len(_ORDER) + _sizes(frame)
    parts = []
    for number in np.intersect1d(key[before], key[after]):
        sides = before & (key == number), after & (key == number)
        one, other = (regions.interactions[side] for side in sides)
        label, size = divmod(int(number), len(_ORDER))
        stratum = Stratum(
            frame.labels[label],
            _ORDER[size],
            len(one),
            len(other),
            float(one.mean()),
            float(other.mean()),
        )
        parts.append(_Part(stratum, *sides))
    return parts


def _difference(frame: CostFrame, parts: Sequence[_Part], total: float) -> Interval:
    regions = frame.regions
    pulls, tasks, center = [], [], 0.0
    for part in parts:
        weight, stratum = part.weight / total, part.stratum
        center += weight * (stratum.after - stratum.before)
        for flags, mean, sign in (
            (part.before, stratum.before, -1.0),
            (part.after, stratum.after, 1.0),
        ):
            values = regions.interactions[flags]
            pulls.append(sign * weight * (values - mean) / len(values))
            tasks.append(regions.task[flags])
    n = sum(part.stratum.n_before + part.stratum.n_after for part in parts)
    return around(center, np.concatenate(pulls), np.concatenate(tasks), n)


def _sizes(frame: CostFrame) -> Ints:
    """Each region's place in ``_ORDER``."""
    area, pixels = np.nan_to_num(frame.regions.area), np.nan_to_num(frame.regions.pixels)
    known = (area > 0) & (pixels > 0)
    share = np.divide(area, pixels, out=np.zeros(len(area)), where=known)
    return np.where(known, np.digitize(share, SIZE_BOUNDS), _ORDER.index("unknown"))
