"""The filter of a project's pages: one form, one meaning, for tables and for files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backend.reports.records import ReportFilter
from backend.web.board import Dashboard
from backend.web.rendering import number_in

WEEKS = (1, 4, 12, 52)
_PHRASE = {"with": True, "without": False}


def where(board: Dashboard, project: str, asked: Mapping[str, str]) -> ReportFilter:
    """The filters that a page's query names. Raises FilterError for a day that is none."""
    chosen = board.reports.where(
        project,
        since=asked["since"],
        until=asked["until"],
        version=asked["version"],
        label=asked["label"] or None,
        phrase=_PHRASE.get(asked["words"]),
    )
    weeks, task = number_in(asked["weeks"]), number_in(asked["task"])
    if weeks and chosen.since is None:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        chosen = replace(chosen, since=today - timedelta(weeks=weeks))
    return replace(
        chosen,
        annotator=number_in(asked["annotator"]),
        tasks=None if task is None else (task,),
    )


def choices(board: Dashboard, project: str) -> dict[str, Sequence[tuple[str, str]]]:
    """Values and titles of each filter."""
    return {
        by: sorted(
            {(group.name, group.title) for group in board.reports.groups(project, by) if group.name}
        )
        for by in ("label", "version", "annotator")
    }
