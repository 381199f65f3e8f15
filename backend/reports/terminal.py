"""A report as tables in a terminal, within eighty characters where names are short."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from backend.reports import wording
from backend.reports.records import BeforeAfter, GroupCost, TaskCost
from backend.reports.report import Report

# A few say what is wrong; all of them would push the tables off the screen.
_DIFFERENCES = 5


def tables(report: Report, tasks: int) -> Iterator[RenderableType]:
    """The report; of the tasks the costliest ``tasks``."""
    summary = report.summary
    yield _title(summary.title)
    yield Text(
        f"{wording.facts(summary)} {wording.serves(summary.champion).capitalize()} serves."
        if not summary.champion
        else f"{wording.facts(summary)} Served by {summary.champion}."
    )
    if report.narrowed:
        yield Text("Only: " + ", ".join(wording.narrowed(report.where)) + ".", style="yellow")
    nothing = wording.empty(report)
    if nothing:
        yield Text(nothing)
        return
    if report.total is not None:
        yield Text()
        yield _title("Objects (± half the 95 % interval)")
        yield _groups([report.total], "")
        for by, found in report.groups.items():
            if found and (len(found) > 1 or by in ("version", "annotator")):
                yield _groups(found, wording.BY[by].lower())
        if report.total.unknown:
            yield Text(wording.not_known(report.total.unknown))
            yield Text()
    if report.promotions:
        yield _title("Before and after each promotion, like with like")
        yield _promotions(report.promotions)
    shown = report.costliest(tasks)
    if shown:
        most = f"the {len(shown)} costliest of " if len(shown) < report.number_of_tasks else ""
        yield _title(f"Tasks: {most}{report.number_of_tasks:,}")
        yield _tasks(shown)
    said = list(wording.agreement(report.reconciliation))
    for sentence in said[:_DIFFERENCES]:
        yield Text(sentence, style="" if report.reconciliation.agrees else "yellow")
    if len(said) > _DIFFERENCES:
        yield Text("More of these are in the page and in the JSON of this report.", style="yellow")


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(names):
        first = number == 0
        table.add_column(
            name,
            justify="left" if first else "right",
            overflow="fold",
            no_wrap=not first,
        )
    return table


def _title(text: str) -> Text:
    # Tables wrap a title of their own to their width.
    return Text(text, style="bold")


def _groups(found: Sequence[GroupCost], name: str) -> Table:
    table = _table(name, "n", "clicks", "median", "in one", "seconds", "first IoU", "last IoU")
    for it in found:
        table.add_row(
            Text(it.title.removeprefix("week of ")),
            f"{it.n:,}" + (f" +{it.unknown:,}?" if it.unknown else ""),
            wording.mean(it.clicks.mean) if it.clicks else wording.UNKNOWN,
            wording.number(it.clicks.median if it.clicks else None, 1),
            wording.share(it.one),
            wording.number(it.seconds.median if it.seconds else None, 1),
            wording.number(it.first_iou.mean if it.first_iou else None, 2),
            wording.number(it.last_iou.mean if it.last_iou else None, 2),
        )
    return table


def _promotions(found: Sequence[BeforeAfter]) -> Table:
    table = _table("version", "day", "before", "after", "difference", "")
    for it in found:
        kind = " (rollback)" if it.promotion.kind == "rollback" else ""
        difference = it.difference
        table.add_row(
            Text(wording.serves(it.promotion.version) + kind),
            wording.day(it.promotion.at),
            f"{wording.number(it.before, 2)} (n {it.matched_before})",
            f"{wording.number(it.after, 2)} (n {it.matched_after})",
            wording.UNKNOWN
            if difference is None
            else wording.signed(difference.mean)
            + ("" if difference.high is None else f" ± {difference.high - difference.mean:.2f}"),
            {True: "fell", False: "rose", None: ""}[it.fell],
        )
    return table


def _tasks(found: Sequence[TaskCost]) -> Table:
    table = _table(
        "task", "+", "−", "words", "all", "objects", "each", "seconds", "first IoU", "last IoU"
    )
    for it in found:
        table.add_row(
            str(it.task),
            *(f"{n:,}" for n in (it.positive, it.negative, it.phrases, it.interactions)),
            f"{it.objects:,}" + (f" ({it.unknown}?)" if it.unknown else ""),
            wording.number(it.per_object, 1),
            wording.number(it.seconds, 1),
            wording.number(it.first_iou, 2),
            wording.number(it.last_iou, 2),
        )
    return table
