"""Which columns a table of tasks or regions has: the fields of their form, by name and type."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from backend.reports import schema

Kind = Literal["text", "integer", "number", "flag", "time"]
_KINDS: dict[Any, Kind] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "flag",
    datetime: "time",
}


@dataclass(frozen=True)
class Column:
    """A figure of each row; ``several``: a list of them."""

    name: str
    kind: Kind
    several: bool = False


def columns(form: type[BaseModel]) -> tuple[Column, ...]:
    """A column for each field, in their order."""
    return tuple(_column(name, it.annotation) for name, it in form.model_fields.items())


def cells(records: Iterable[object], of: tuple[Column, ...]) -> Iterator[list[Any]]:
    """A row for each record."""
    names = [column.name for column in of]
    for record in records:
        yield [getattr(record, name) for name in names]


def _column(name: str, annotation: Any) -> Column:
    plain = _without_none(annotation)
    if get_origin(plain) is tuple:
        return Column(name, _KINDS[_without_none(get_args(plain)[0])], several=True)
    if get_origin(plain) is Literal:
        return Column(name, "text")
    return Column(name, _KINDS[plain])


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (it for it in get_args(annotation) if it is not NoneType)
    return annotation


TASK_COLUMNS = columns(schema.Task)
REGION_COLUMNS = columns(schema.Region)
