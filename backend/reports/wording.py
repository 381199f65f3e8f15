"""How figures are said: the same words on the terminal and on the page."""

from collections.abc import Iterator
from datetime import UTC, datetime

from backend.reports.records import (
    BeforeAfter,
    By,
    Interval,
    ProjectSummary,
    Reconciliation,
    Where,
)
from backend.reports.report import Report

UNKNOWN = "–"

BY: dict[By, str] = {
    "project": "Project",
    "version": "Model version",
    "label": "Label",
    "annotator": "Annotator",
    "week": "Week",
    "phrase": "With and without words",
}


def number(value: float | None, digits: int = 0) -> str:
    """With thousands apart; a dash where it is not known."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus, and no sign before nothing."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def mean(interval: Interval | None, digits: int = 2) -> str:
    """A mean and half the width of its interval."""
    if interval is None:
        return UNKNOWN
    said = f"{interval.mean:.{digits}f}"
    return said if interval.high is None else f"{said} ± {interval.high - interval.mean:.{digits}f}"


def share(interval: Interval | None) -> str:
    """A share in percent."""
    return UNKNOWN if interval is None else f"{100 * interval.mean:.0f} %"


def duration(seconds: float | None) -> str:
    """As people say it: 8.4 s, 2 min 05 s, 3 h 10 min."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def day(moment: datetime | None) -> str:
    """A day in UTC."""
    return UNKNOWN if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d")


def minute(moment: datetime | None) -> str:
    """A time in UTC."""
    return UNKNOWN if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def counted(n: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def serves(version: str) -> str:
    """A model version, or what stands for it."""
    return version or "the base"


def facts(summary: ProjectSummary) -> str:
    """What there is of a project, in a sentence."""
    said = (
        f"{counted(summary.tasks, 'task')}, {counted(summary.regions, 'accepted object')}, "
        f"{counted(summary.interactions, 'interaction')}"
    )
    if summary.abandoned:
        said += f" ({number(summary.abandoned)} of them on objects that nobody accepted)"
    return said + "."


def not_known(n: int) -> str:
    """What is said of objects that the log did not see being made."""
    if not n:
        return ""
    were = "was" if n == 1 else "were"
    return (
        f"{counted(n, 'object')} {were} drawn by hand, accepted from a prediction or made before "
        "this backend listened: how much work that took is not known, and no mean holds a guess."
    )


def narrowed(where: Where) -> list[str]:
    """What was left out, filter by filter."""
    said = []
    if where.since is not None:
        said.append(f"since {minute(where.since)} UTC")
    if where.until is not None:
        said.append(f"before {minute(where.until)} UTC")
    if where.version is not None:
        said.append(f"version {where.version}")
    if where.label is not None:
        said.append(f"label {where.label}" if where.label else "without a label")
    if where.annotator is not None:
        said.append(f"annotator {where.annotator}")
    if where.phrase is not None:
        said.append("made with words" if where.phrase else "made without words")
    return said


def verdict(it: BeforeAfter) -> str:
    """Whether a promotion was worth it, in a sentence."""
    if it.difference is None:
        missing = "after" if it.n_before else "before"
        if it.n_before and it.n_after:
            return "No label and size was worked on both before and after: nothing to compare."
        return f"No object was begun {missing} it: nothing to compare."
    if it.fell is None:
        return "No difference that these numbers could prove."
    amount = f"{abs(it.difference.mean):.2f}"
    return f"{amount} clicks an object {'fewer' if it.fell else 'more'}."


def agreement(it: Reconciliation) -> Iterator[str]:
    """What holding the figures against each other found."""
    if it.agrees:
        yield (
            f"The sums over tasks, the event log and the {counted(it.annotations, 'region')} of "
            "the annotations agree."
        )
    yield from it.differences


def empty(report: Report) -> str:
    """Why a report shows nothing; '' where it shows something."""
    if report.number_of_tasks:
        return ""
    if report.narrowed:
        return "Nothing in this project fits these filters."
    return "Nobody has clicked, typed or submitted in this project yet."
