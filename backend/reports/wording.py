"""How figures are written: the same words in the terminal, in the report and on the dashboard."""

from collections.abc import Iterator
from datetime import UTC, datetime

from backend.reports.queries import Report
from backend.reports.records import (
    BeforeAfter,
    By,
    GroupCost,
    Interval,
    ProjectSummary,
    PromotionMark,
    Reconciliation,
    ReportFilter,
)

UNKNOWN = "–"

BY: dict[By, str] = {
    "project": "Project",
    "version": "Model version",
    "label": "Label",
    "annotator": "Annotator",
    "week": "Week",
    "phrase": "With and without a phrase",
}


def number(value: float | None, digits: int = 0) -> str:
    """With thousands separators; a dash if unknown."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """With its sign, a true minus, and no sign for zero."""
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if float(text) == 0 else text.replace("-", "−")


def mean(interval: Interval | None, digits: int = 2) -> str:
    """A mean and half the width of its interval; both ends of one that is cut off at zero."""
    if interval is None:
        return UNKNOWN
    said = f"{interval.mean:.{digits}f}"
    if interval.low is None or interval.high is None:
        return said
    if interval.low <= 0.0:
        return f"{said} ({interval.low:.{digits}f}–{interval.high:.{digits}f})"
    return f"{said} ± {interval.high - interval.mean:.{digits}f}"


def share(interval: Interval | None) -> str:
    """A share in percent."""
    return UNKNOWN if interval is None else f"{100 * interval.mean:.0f} %"


def pixels(count: float | None) -> str:
    return UNKNOWN if count is None else f"{count:,.0f} px"


def duration(seconds: float | None) -> str:
    """8.4 s, 2 min 05 s, 3 h 10 min."""
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
    """A model version; the configured checkpoint has no name."""
    return version or "the base model"


def group(title: str) -> str:
    """A group's title in a table that says what it is grouped by."""
    return title.removeprefix("week of ")


def facts(summary: ProjectSummary) -> str:
    """A project's size in one sentence."""
    said = (
        f"{counted(summary.tasks, 'task')}, {counted(summary.regions, 'accepted object')}, "
        f"{counted(summary.interactions, 'interaction')}"
    )
    if summary.abandoned:
        said += f" ({number(summary.abandoned)} of them on objects that nobody accepted)"
    return said + "."


def without_click(total: GroupCost | None) -> str:
    """How many objects were accepted without a click, in a sentence; '' if none was."""
    if total is None or total.without_click is None or not total.without_click.mean:
        return ""
    rate = total.without_click
    return f"{share(rate)} of {counted(rate.n, 'object')} accepted without a click."


def not_known(n: int) -> str:
    """About objects that the log did not record; '' if there are none."""
    if not n:
        return ""
    return (
        f"{counted(n, 'object')} {'was' if n == 1 else 'were'} drawn by hand, accepted from a "
        "prediction, or made before this backend was connected. Their cost is unknown, so they "
        "are left out of all means."
    )


def filters(where: ReportFilter) -> list[str]:
    """The filters of a report, one text each."""
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
        said.append("made with a phrase" if where.phrase else "made without a phrase")
    return said


def promoted(mark: PromotionMark) -> str:
    """What serves since a promotion or rollback."""
    return serves(mark.version) + (" (rollback)" if mark.kind == "rollback" else "")


def change(difference: Interval | None) -> str:
    """A difference and half the width of its interval."""
    if difference is None:
        return UNKNOWN
    said = signed(difference.mean)
    return said if difference.high is None else f"{said} ± {difference.high - difference.mean:.2f}"


def matched(change: BeforeAfter) -> str:
    """How many objects before and after a promotion are compared."""
    return f"{change.matched_before:,} / {change.matched_after:,}"


def verdict(change: BeforeAfter) -> str:
    """Whether a promotion paid off, in one sentence."""
    if change.difference is None:
        if change.n_before and change.n_after:
            return "No label and size was labeled both before and after: nothing to compare."
        missing = "after" if change.n_before else "before"
        return f"No object was begun {missing} it: nothing to compare."
    if change.fell is None:
        return "No significant difference."
    amount = f"{abs(change.difference.mean):.2f}"
    return f"{amount} {'fewer' if change.fell else 'more'} clicks per object."


def agreement(compared: Reconciliation) -> Iterator[str]:
    """Whether the figures agree, in sentences."""
    if compared.agrees:
        yield (
            "The sums over tasks, the event log and the "
            f"{counted(compared.annotations, 'region')} of the annotations agree."
        )
    yield from compared.differences


def empty(report: Report) -> str:
    """Why a report shows nothing; '' if it shows something."""
    if report.number_of_tasks:
        return ""
    if report.filtered:
        return "Nothing in this project matches these filters."
    return "Nobody has clicked, typed or submitted in this project yet."
