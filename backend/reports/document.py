"""A report as one JSON document, written as it is read: a long history needs no memory."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, TypeAdapter

from backend.reports import schema
from backend.reports.report import Report

# Written at once: a few ten kB.
_LINES = 50


def json_text(report: Report) -> Iterator[str]:
    """The document in pieces; its parts have the form that the API answers with."""
    yield f'{{\n"project": {_one(schema.Project, report.summary)},\n'
    yield f'"made_at": "{report.made_at.isoformat(timespec="seconds")}",\n'
    yield f'"filters": {_one(schema.Filters, report.where)},\n'
    total = "null" if report.total is None else _one(schema.Group, report.total)
    yield f'"total": {total},\n'
    yield '"tasks": '
    yield from _list(schema.Task, report.tasks())
    yield ',\n"regions": '
    yield from _list(schema.Region, report.regions())
    yield ',\n"groups": {'
    for number, (by, found) in enumerate(report.groups.items()):
        yield f'{"," if number else ""}\n"{by}": '
        yield from _list(schema.Group, found)
    yield '},\n"promotions": '
    yield from _list(schema.Promotion, report.promotions)
    yield f',\n"reconciliation": {_one(schema.Reconciliation, report.reconciliation)}\n}}\n'


def _one(form: type[BaseModel], record: object) -> str:
    return form.model_validate(record).model_dump_json()


def _list(form: type[BaseModel], records: Iterable[object]) -> Iterator[str]:
    """An entry a line, so that the file can be looked into."""
    read = TypeAdapter(form).validator
    lines: list[str] = []
    before = "[\n"
    for record in records:
        lines.append(read.validate_python(record).model_dump_json())
        if len(lines) == _LINES:
            yield before + ",\n".join(lines)
            before = ",\n"
            lines.clear()
    if lines:
        yield before + ",\n".join(lines)
        before = ""
    yield "[]" if before == "[\n" else "\n]"
