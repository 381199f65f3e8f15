"""Did clicks fall? Objects begun before and after a promotion, like with like.

Weeks differ in what is labeled: more cats than cables, larger ones than before. So objects are
compared within one label and size, and the differences of these are put together, each with the
weight that its numbers give it.
"""

from collections.abc import Sequence

import numpy as np
from sqlalchemy import Connection

from backend.db.models import Promotion
from backend.label_studio.payloads import Project
from backend.registry import champions as promotion_log
from backend.registry.champions import EVERYONE, Champions
from backend.reports.cost_frame import Flags, Ledger
from backend.reports.estimate import around
from backend.reports.event_totals import Ints
from backend.reports.records import BeforeAfter, Interval, Mark, SizeClass, Stratum, size_class


def champion(connection: Connection, project: str) -> str:
    """The version that serves a project; '' for the checkpoint of the settings."""
    return Champions.after(promotion_log.history(connection)).of(Project.read(project))


def marks(connection: Connection, project: str) -> list[Mark]:
    """Promotions and rollbacks that changed what serves the project, oldest first."""
    history = promotion_log.history(connection)
    owner = Project.read(project)
    found = []
    served = Champions.after([]).of(owner)
    for number, it in enumerate(history, 1):
        if it.project not in (EVERYONE, project):
            continue
        serves = Champions.after(history[:number]).of(owner)
        if serves != served:
            found.append(_mark(it, serves, served))
        served = serves
    return found


def before_and_after(ledger: Ledger, promotions: Sequence[Mark]) -> list[BeforeAfter]:
    """For each promotion: did clicks an object fall?"""
    begun = ledger.regions.first_at
    usable = ledger.regions.known & ~np.isnan(begun)
    times = [it.at.timestamp() for it in promotions]
    found = []
    for number, it in enumerate(promotions):
        since = times[number - 1] if number else -np.inf
        until = times[number + 1] if number + 1 < len(times) else np.inf
        before = usable & (begun >= since) & (begun < times[number])
        after = usable & (begun >= times[number]) & (begun < until)
        found.append(_compare(ledger, it, before, after))
    return found


def _compare(ledger: Ledger, mark: Mark, before: Flags, after: Flags) -> BeforeAfter:
    it = ledger.regions
    kinds = np.array([_ORDER.index(size) for size in _sizes(ledger)], np.int64)
    stratum = it.label * len(_ORDER) + kinds
    both = np.intersect1d(stratum[before], stratum[after])
    strata, weights, parts = [], [], []
    for key in both:
        one, other = before & (stratum == key), after & (stratum == key)
        x, y = it.interactions[one], it.interactions[other]
        label, size = ledger.labels[key // len(_ORDER)], _ORDER[key % len(_ORDER)]
        strata.append(Stratum(label, size, len(x), len(y), float(x.mean()), float(y.mean())))
        # What a difference of two means can tell grows with the smaller number of the two.
        weights.append(len(x) * len(y) / (len(x) + len(y)))
        parts.append((one, other))
    share = np.array(weights) / (sum(weights) or 1)
    means = [
        float(sum(w * getattr(s, side) for w, s in zip(share, strata, strict=True)))
        for side in ("before", "after")
    ]
    difference = _difference(ledger, strata, share, parts) if strata else None
    return BeforeAfter(
        promotion=mark,
        n_before=int(before.sum()),
        n_after=int(after.sum()),
        matched_before=sum(s.n_before for s in strata),
        matched_after=sum(s.n_after for s in strata),
        before=means[0] if strata else None,
        after=means[1] if strata else None,
        difference=difference,
        strata=tuple(sorted(strata, key=lambda s: (s.label, _ORDER.index(s.size)))),
    )


def _difference(
    ledger: Ledger,
    strata: Sequence[Stratum],
    share: np.ndarray,
    parts: Sequence[tuple[Flags, Flags]],
) -> Interval:
    it = ledger.regions
    pulls: list[np.ndarray] = []
    tasks: list[Ints] = []
    for weight, stratum, (one, other) in zip(share, strata, parts, strict=True):
        for flags, mean, sign in ((one, stratum.before, -1.0), (other, stratum.after, 1.0)):
            values = it.interactions[flags]
            pulls.append(sign * weight * (values - mean) / len(values))
            tasks.append(it.task[flags])
    center = sum(w * (s.after - s.before) for w, s in zip(share, strata, strict=True))
    n = sum(s.n_before + s.n_after for s in strata)
    return around(float(center), np.concatenate(pulls), np.concatenate(tasks), n)


_ORDER: tuple[SizeClass, ...] = ("small", "medium", "large", "unknown")


def _sizes(ledger: Ledger) -> list[SizeClass]:
    it = ledger.regions
    areas = np.nan_to_num(it.area).astype(np.int64)
    pixels = np.nan_to_num(it.pixels).astype(np.int64)
    return [size_class(int(a), int(p)) for a, p in zip(areas, pixels, strict=True)]


def _mark(it: Promotion, serves: str, served: str) -> Mark:
    return Mark(it.id, it.at, it.kind, serves, served, it.who, it.why)
