"""The commands about model versions: ``versions``, ``promote``, ``rollback``, ``compare`` and
``import-version``.

Imported by the command line, so nothing heavy here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.options import Data, ProjectOption, settings_of

if TYPE_CHECKING:
    from backend.registry.records import Promotion
    from backend.registry.versions import Registry

Name = Annotated[str, typer.Argument(help="A version, or its unique beginning; 'base' counts.")]
Why = Annotated[str, typer.Option(help="The reason, kept with the promotion.")]


def versions(
    project: ProjectOption = "",
    prune: Annotated[
        bool, typer.Option("--prune", help="Delete the files of versions that nobody needs.")
    ] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="With --prune: so many of each project stay in any case.")
    ] = 5,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --prune: only say which.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    data: Data = None,
) -> None:
    """Show the model versions: which one serves, where each came from, what it reached."""
    from rich.console import Console

    from backend.registry import listing

    with _registry(data) as registry:
        console = Console(soft_wrap=True, highlight=False)
        registry.base()
        if prune:
            goes = registry.prune(keep=keep, try_only=dry_run)
            for version in goes:
                console.print(f"{'Would prune' if dry_run else 'Pruned'} {version.name}")
            console.print(listing.freed(goes))
            return
        key = registry.project_key(project) if project else None
        if json:
            console.print_json(data=listing.as_json(registry, key))
        else:
            listing.show(console, registry, key)


def promote(
    version: Name,
    project: ProjectOption = "",
    why: Why = "",
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Even a version that the gate rejected.")
    ] = False,
    data: Data = None,
) -> None:
    """Let a version serve: its own project, the one named, or all that have none of their own."""
    with _registry(data) as registry:
        before = registry.last_promotion()
        key = registry.project_key(project) if project else None
        done = registry.promote(version, key, who=_who(), why=why or "by hand", anyway=anyway)
        if done.id <= before:
            typer.echo(f"{done.version or 'The base'} serves {_whom(done)} already.")
            return
        _say(registry, done)
        _tell_worker(data)


def rollback(project: ProjectOption = "", why: Why = "", data: Data = None) -> None:
    """Take the last promotion back: what served before serves again, at once."""
    with _registry(data) as registry:
        key = registry.project_key(project) if project else ""
        done = registry.rollback(key, who=_who(), why=why or "by hand")
        _say(registry, done)
        _tell_worker(data)


def compare(
    one: Name,
    other: Name,
    measured: Annotated[
        bool,
        typer.Option(
            "--measure", help="Ask both, as a training's gate does, with the first as champion."
        ),
    ] = False,
    project: Annotated[
        str,
        typer.Option(
            help="With --measure: the project whose held-out labels are asked about, too.",
            show_default="the general set alone",
        ),
    ] = "",
    data: Data = None,
) -> None:
    """Show two versions side by side: their metrics as recorded, and what they learned from."""
    from rich.console import Console

    if project and not measured:
        raise typer.BadParameter("--project counts with --measure alone.")
    with _registry(data) as registry:
        console = Console(soft_wrap=True, highlight=False)
        champion, candidate = registry.get(one), registry.get(other)
        if measured:
            from backend.learning.comparison import measure

            key = registry.project_key(project) if project else ""
            measure(console, settings_of(data), registry, champion, candidate, key)
            return
        from backend.registry import listing

        listing.side_by_side(console, champion, candidate)


def import_version(
    folder: Annotated[Path, typer.Argument(help="Folder of a checkpoint.")],
    project: ProjectOption = "",
    data: Data = None,
) -> None:
    """Take a checkpoint folder in as a version, checked from its sums to its network."""
    from model.checkpoint import load

    # Beyond its sums: a network of this program must be able to wear these weights.
    load(folder).network()
    with _registry(data) as registry:
        key = registry.project_key(project) if project else ""
        added = registry.add(folder, project=key, by=_who())
        typer.echo(f"{added.name} is version {added.state} {_for(added.project)}.")
        typer.echo(f"Let it serve with: phraseclick promote {added.name}")


@contextmanager
def _registry(data: Path | None) -> "Iterator[Registry]":
    from backend.registry.versions import Registry

    registry = Registry.open(settings_of(data))
    try:
        yield registry
    finally:
        registry.close()


def _who() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"


def _for(project: str) -> str:
    return f"of project {project}" if project else "for all projects"


def _whom(done: "Promotion") -> str:
    return f"project {done.project}" if done.project else "all projects without one of their own"


def _say(registry: "Registry", done: "Promotion") -> None:
    serves = done.version or ("what serves all" if done.project else registry.base_name)
    before = done.before or ("what serves all" if done.project else registry.base_name)
    typer.echo(f"{_whom(done).capitalize()}: {serves} serves, in place of {before}.")
    typer.echo("Running servers take it up within a second; the worker tells Label Studio.")


def _tell_worker(data: Path | None) -> None:
    """Ring; without it the worker looks by itself."""
    from backend.worker import celery_app

    settings = settings_of(data)
    settings.data.mkdir(parents=True, exist_ok=True)
    try:
        celery_app.call(celery_app.build(settings), celery_app.ANNOUNCE)
    except Exception as error:  # whatever the broker's client raises
        typer.echo(f"The worker could not be called ({error}); it looks by itself.", err=True)
