"""What a report is narrowed to, from words of a command line or an address."""

import re
from datetime import UTC, date, datetime, timedelta

from backend.errors import FilterError
from backend.reports.records import Where
from backend.reports.source import Reports

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
# The largest number that a database keeps.
_MOST = 2**63 - 1


def read_where(
    reports: Reports,
    project: str,
    *,
    since: str | None = None,
    until: str | None = None,
    version: str | None = None,
    label: str | None = None,
    annotator: str | None = None,
    phrase: bool | None = None,
) -> Where:
    """Empty words narrow nothing, but for the label: '' are regions without one.

    since, until: a day (2026-11-25), which both include, or a moment (2026-11-25T14:30). UTC where
    no zone is told. annotator: Label Studio's number or e-mail address of the user.

    Raises FilterError for what cannot be read.
    """
    for name, text in (("version", version), ("label", label), ("annotator", annotator)):
        if text and "\x00" in text:
            raise FilterError(f"The {name} holds a character that no {name} can have.")
    return Where(
        since=_moment("since", since) if since else None,
        until=_moment("until", until, end=True) if until else None,
        version=version or None,
        label=label,
        annotator=_annotator(reports, project, annotator) if annotator else None,
        phrase=phrase,
    )


def _moment(name: str, text: str, *, end: bool = False) -> datetime:
    try:
        if _DAY.fullmatch(text):
            day = datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
            return day + timedelta(days=1) if end else day
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise FilterError(
            f"{text!r} is no time for {name}: write a day, 2026-11-25, or 2026-11-25T14:30."
        ) from None


def _annotator(reports: Reports, project: str, written: str) -> int:
    if written.isascii() and written.isdigit() and int(written) <= _MOST:
        return int(written)
    people = [it for it in reports.groups(project, "annotator") if it.name]
    for person in people:
        if person.title.casefold() == written.casefold():
            return int(person.name)
    known = ", ".join(
        f"{it.name} ({it.title})" if it.title != f"user {it.name}" else it.name for it in people
    )
    raise FilterError(
        f"No annotator {written!r} has submitted a region in project {project}"
        + (f"; these have: {known}." if known else ".")
    )
