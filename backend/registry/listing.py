"""Versions for people and programs: the list, the log of promotions, two side by side."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy.orm import class_mapper

from backend.db.models import Promotion, Version
from backend.registry.champions import BASE, EVERYONE, Champions
from backend.registry.versions import Registry

_LOG_LINES = 10


def show(console: Console, registry: Registry, project: str | None) -> None:
    """Print a table of versions, and below it the last promotions."""
    champions, base = registry.champions(), registry.base_name
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("version", "of", "state", "parent", "labels", "since", "serves"):
        table.add_column(head, no_wrap=head not in ("of", "parent", "serves"), overflow="fold")
    for version in registry.all(project):
        table.add_row(
            version.name,
            version.project or "all",
            version.state,
            version.parent or "-",
            str(version.data.get("labels", "-")),
            _minute(version.created_at),
            _serves(version, champions, base),
        )
    console.print(table)
    for promotion in registry.history(project)[-_LOG_LINES:]:
        scope = f"project {promotion.project}" if promotion.project else "all projects"
        default = "what serves all" if promotion.project else base
        change = f"{promotion.kind} for {scope} to {promotion.version or default}"
        why = f": {promotion.why}" if promotion.why else ""
        console.print(escape(f"{_minute(promotion.at)} {change} by {promotion.who}{why}"))


def as_json(registry: Registry, project: str | None) -> dict[str, Any]:
    """The same for programs, with every column."""
    champions, base = registry.champions(), registry.base_name
    serves = champions.of_owner(EVERYONE) or base
    return {
        "base": base,
        "serves": serves if project is None else champions.of_owner(project) or serves,
        "champions": {
            key: champions.of_owner(key) or serves
            for key in sorted(champions.by_project)
            if key != EVERYONE and project in (None, key)
        },
        "versions": [_columns(version) for version in registry.all(project)],
        "promotions": [_columns(promotion) for promotion in registry.history(project)],
    }


def side_by_side(console: Console, one: Version, other: Version) -> None:
    """Print the metrics of two versions with their difference, then the origin of each."""
    table = Table(box=box.SIMPLE_HEAD)
    for head in ("", one.name, other.name, "difference"):
        table.add_column(head, overflow="fold", justify="left" if not head else "right")
    mine, theirs = dict(figures(one.metrics)), dict(figures(other.metrics))
    for name in dict.fromkeys([*mine, *theirs]):
        a, b = mine.get(name), theirs.get(name)
        difference = f"{b - a:+.4g}" if a is not None and b is not None else ""
        table.add_row(name, _figure(a), _figure(b), difference)
    for what in ("state", "parent", "project", "created_by"):
        table.add_row(what, str(getattr(one, what)) or "-", str(getattr(other, what)) or "-", "")
    table.add_row("created", _minute(one.created_at), _minute(other.created_at), "")
    for what in dict.fromkeys([*one.data, *other.data]):
        table.add_row(f"data: {what}", _short(one.data.get(what)), _short(other.data.get(what)), "")
    console.print(table)
    if not set(mine) & set(theirs):
        console.print(
            "The two have no metric in common. Measure them with --measure, or with "
            "phraseclick evaluate."
        )


def figures(metrics: Mapping[str, Any], path: Sequence[str] = ()) -> Iterator[tuple[str, float]]:
    """Every measured number by its dotted path; without the training's recipe."""
    for name, value in metrics.items():
        full = (*path, str(name))
        if isinstance(value, Mapping):
            if name != "recipe":
                yield from figures(value, full)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield ".".join(full), float(value)


def freed(versions: Sequence[Version]) -> str:
    """What a prune frees, in words."""
    megabytes = sum(version.size_bytes for version in versions) / 1e6
    return f"{len(versions)} version{'s' * (len(versions) != 1)}, {megabytes:.1f} MB."


def _serves(version: Version, champions: Champions, base: str) -> str:
    owners = [
        key or "all"
        for key, champion in champions.by_project.items()
        if champion.version == version.name
    ]
    if version.name == base and champions.of_owner(EVERYONE) == BASE:
        owners.append("all")
    return ", ".join(sorted(owners))


def _columns(row: Version | Promotion) -> dict[str, Any]:
    columns = class_mapper(type(row)).column_attrs
    values = {column.key: getattr(row, column.key) for column in columns}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
    }


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _short(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _minute(moment: datetime) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")
