"""A report as tables in a terminal; at most 80 characters wide if names are short."""

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from backend.reports import wording
from backend.reports.queries import Report
from backend.reports.records import BeforeAfter, GroupCost, TaskCost

# A few say what is wrong; all of them would push the tables off the screen.
_DIFFERENCES = 5


def tables(report: Report, tasks: int) -> Iterator[RenderableType]:
    """The report, with the ``tasks`` costliest tasks."""
    summary = report.summary
    yield _title(summary.title)
    yield Text(f"{wording.facts(summary)} Served by {wording.serves(summary.champion)}.")
    if report.filtered:
        yield Text("Filters: " + ", ".join(wording.filters(report.where)) + ".", style="yellow")
    if nothing := wording.empty(report):
        yield Text(nothing)
        return
    if report.total is not None:
        yield Text()
        yield _title("Objects (± half the 95 % interval)")
        yield _groups([report.total], "")
        for by, groups in report.groups.items():
            if groups and (len(groups) > 1 or by in ("version", "annotator")):
                yield _groups(groups, wording.BY[by].lower())
        if without := wording.without_click(report.total):
            yield Text(without)
            yield Text()
        if report.total.unknown:
            yield Text(wording.not_known(report.total.unknown))
            yield Text()
    if report.promotions:
        yield _title("Before and after each promotion, within the same label and size")
        yield _promotions(report.promotions)
    if shown := report.costliest(tasks):
        most = f"the {len(shown)} costliest of " if len(shown) < report.number_of_tasks else ""
        yield _title(f"Tasks: {most}{report.number_of_tasks:,}")
        yield _tasks(shown)
    said = list(wording.agreement(report.reconciliation))
    for sentence in said[:_DIFFERENCES]:
        yield Text(sentence, style="" if report.reconciliation.agrees else "yellow")
    if len(said) > _DIFFERENCES:
        yield Text("The HTML and JSON reports list all of these.", style="yellow")


def _table(*names: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for number, name in enumerate(names):
        first = number == 0
        table.add_column(
            name, justify="left" if first else "right", overflow="fold", no_wrap=not first
        )
    return table


def _title(text: str) -> Text:
    # The title of a rich table would be wrapped to the table's width.
    return Text(text, style="bold")


def _groups(groups: Sequence[GroupCost], name: str) -> Table:
    table = _table(name, "n", "clicks", "median", "in one", "seconds", "first IoU", "last IoU")
    for group in groups:
        table.add_row(
            Text(group.title.removeprefix("week of ")),
            f"{group.n:,}" + (f" +{group.unknown:,}?" if group.unknown else ""),
            wording.mean(group.clicks.mean if group.clicks else None),
            wording.number(group.clicks.median if group.clicks else None, 1),
            wording.share(group.one),
            wording.number(group.seconds.median if group.seconds else None, 1),
            wording.number(group.first_iou.mean if group.first_iou else None, 2),
            wording.number(group.last_iou.mean if group.last_iou else None, 2),
        )
    return table


def _promotions(changes: Sequence[BeforeAfter]) -> Table:
    table = _table("version", "day", "before", "after", "difference", "")
    for change in changes:
        kind = " (rollback)" if change.promotion.kind == "rollback" else ""
        difference = change.difference
        said = wording.UNKNOWN
        if difference is not None:
            said = wording.signed(difference.mean)
            if difference.high is not None:
                said += f" ± {difference.high - difference.mean:.2f}"
        table.add_row(
            Text(wording.serves(change.promotion.version) + kind),
            wording.day(change.promotion.at),
            f"{wording.number(change.before, 2)} (n {change.matched_before})",
            f"{wording.number(change.after, 2)} (n {change.matched_after})",
            said,
            {True: "fell", False: "rose", None: ""}[change.fell],
        )
    return table


def _tasks(costs: Sequence[TaskCost]) -> Table:
    table = _table(
        "task",
        "+",
        "−",
        "words",
        "boxes",
        "all",
        "objects",
        "each",
        "seconds",
        "first IoU",
        "last IoU",
    )
    for task in costs:
        table.add_row(
            str(task.task),
            *(
                f"{n:,}"
                for n in (task.positive, task.negative, task.phrases, task.boxes, task.interactions)
            ),
            f"{task.objects:,}" + (f" ({task.unknown}?)" if task.unknown else ""),
            wording.number(task.per_object, 1),
            wording.number(task.seconds, 1),
            wording.number(task.first_iou, 2),
            wording.number(task.last_iou, 2),
        )
    return table
