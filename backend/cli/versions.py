"""Commands about model versions: ``versions``, ``promote``, ``rollback``, ``compare`` and
``import-version``.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.common import AnyProject, Data, Json, console, enqueue, key_of, settings_of, user

if TYPE_CHECKING:
    from backend.db.models import Promotion
    from backend.registry.versions import Registry

Name = Annotated[str, typer.Argument(help="A version, an unambiguous prefix of one, or 'base'.")]
Why = Annotated[str, typer.Option(help="Reason, kept in the log of promotions.")]


def versions(
    project: AnyProject = "",
    delete_unused: Annotated[
        bool, typer.Option("--prune", help="Delete the files of versions that are not in use.")
    ] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="With --prune: keep the newest N of each project.")
    ] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --prune: list them, delete nothing.")
    ] = False,
    json: Json = False,
    data: Data = None,
) -> None:
    """List model versions: which one serves, where each came from, its metrics.

    Times are UTC.
    """
    from backend.cli import tables
    from backend.registry.pruning import prune

    with _registry(data) as registry:
        registry.base()
        if delete_unused:
            pruned = prune(registry, keep=keep, try_only=dry_run)
            for version in pruned:
                console().print(f"{'Would prune' if dry_run else 'Pruned'} {version.name}")
            console().print(tables.freed(pruned))
            return
        key = key_of(registry.database, project) if project else None
        if json:
            console().print_json(data=tables.versions_as_json(registry, key))
        else:
            tables.show_versions(console(), registry, key)


def promote(
    version: Name,
    project: AnyProject = "",
    why: Why = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Promote even a version that the gate rejected.")
    ] = False,
    data: Data = None,
) -> None:
    """Let a version serve its own project, the one named, or all projects without their own."""
    from backend.registry.champions import served_by

    with _registry(data) as registry:
        before = registry.last_promotion()
        key = key_of(registry.database, project) if project else None
        done = registry.promote(version, key, who=user(), why=why or "by hand", anyway=anyway)
        if done.id <= before:
            typer.echo(f"{done.version or 'The base'} already serves {served_by(done.project)}.")
            return
        _report(registry, done, data)


def rollback(project: AnyProject = "", why: Why = "", data: Data = None) -> None:
    """Undo the last promotion: the version before it serves again, at once."""
    with _registry(data) as registry:
        key = key_of(registry.database, project) if project else ""
        done = registry.rollback(key, who=user(), why=why or "by hand")
        _report(registry, done, data)


def compare(
    one: Name,
    other: Name,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure", help="Evaluate both now, as the gate does, with the first as champion."
        ),
    ] = False,
    project: Annotated[
        str,
        typer.Option(
            help="With --measure: also use the held-out labels of this project.",
            show_default="only the general set",
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Show two versions side by side: recorded metrics and training data."""
    if project and not measured:
        raise typer.BadParameter("--project needs --measure.")
    with _registry(data) as registry:
        champion, candidate = registry.get(one), registry.get(other)
        if measured:
            from backend.learning.comparison import measure

            key = key_of(registry.database, project) if project else ""
            measure(console(), settings_of(data), registry, champion, candidate, key)
            return
        from backend.cli import tables

        tables.side_by_side(console(), champion, candidate)


def import_version(
    folder: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    project: AnyProject = "",
    data: Data = None,
) -> None:
    """Add a checkpoint folder as a version, after checking its files and loading its network."""
    from backend.cli.tables import scope_of
    from model.checkpoint import load

    # Checksums alone do not show whether this program can build the network.
    load(folder).network()
    with _registry(data) as registry:
        key = key_of(registry.database, project) if project else ""
        added = registry.add(folder, project=key, by=user())
        typer.echo(f"{added.name} was added for {scope_of(added.project)}, state: {added.state}.")
        typer.echo(f"To let it serve: phraseclick promote {added.name}")


def _registry(data: Path | None) -> "closing[Registry]":
    from backend.registry.versions import Registry

    return closing(Registry.open(settings_of(data)))


def _report(registry: "Registry", done: "Promotion", data: Path | None) -> None:
    """Say what changed, and have the worker tell Label Studio."""
    from backend.registry.champions import served_by
    from backend.worker.celery_app import ANNOUNCE

    default = "the default version" if done.project else registry.base_name
    now, before = done.version or default, done.before or default
    typer.echo(f"{served_by(done.project).capitalize()}: {now} now serves instead of {before}.")
    typer.echo("Running servers switch within a second; the worker updates Label Studio.")
    enqueue(settings_of(data), ANNOUNCE)
