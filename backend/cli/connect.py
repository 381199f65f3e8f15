"""Commands that connect and check Label Studio projects: ``connect``, ``doctor``, ``disconnect``.

The checks themselves are in ``backend.label_studio.diagnostics``.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.cli.common import Data, console, keep_private, open_database, settings_of
from backend.errors import DatabaseError, LabelConfigError, LabelStudioError

if TYPE_CHECKING:
    from backend.label_studio.client import LabelStudio
    from backend.label_studio.credentials import Credentials
    from backend.label_studio.diagnostics import Diagnostics
    from backend.label_studio.probe import Finding
    from backend.settings import Settings

_CONFIGS = Path(__file__).resolve().parents[2] / "plugin_config"
_DEFAULT_BACKEND = "http://127.0.0.1:9090"

Url = Annotated[
    str,
    typer.Option(
        help="Address of Label Studio, as seen from this machine.",
        show_default="PHRASECLICK_LABEL_STUDIO_URL",
    ),
]
Token = Annotated[
    str,
    # Kept for scripts that have it; everybody on the machine sees the arguments of a program.
    typer.Option(hidden=True),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the personal access token (or legacy token) from Label Studio's Account & "
        "Settings; - reads it from standard input.",
        show_default="PHRASECLICK_LABEL_STUDIO_TOKEN, else asked for",
    ),
]
BackendUrl = Annotated[
    str,
    typer.Option(
        help="Address of this backend, as seen from Label Studio.",
        show_default="as given to connect",
    ),
]


def connect(
    project: Annotated[int, typer.Option(help="Project number, as in its address.")],
    url: Url = "",
    token: Token = "",
    token_file: TokenFile = None,
    backend_url: Annotated[
        str, typer.Option(help="Address of this backend, as seen from Label Studio.")
    ] = _DEFAULT_BACKEND,
    write_config: Annotated[
        str,
        typer.Option(
            help="First write this labeling config to the project: a file, or the name of one in "
            "plugin_config.",
        ),
    ] = "",
    data: Data = None,
    yes: Annotated[bool, typer.Option("--yes", help="Overwrite a config without asking.")] = False,
) -> None:
    """Connect a Label Studio project to this backend and test it with one click."""
    from backend.label_studio.client import LabelStudio
    from backend.label_studio.credentials import save_credentials

    settings = settings_of(data)
    access = _access(settings, url, _read_token(token, token_file), backend_url, ask=True)
    keep_private(settings)  # before Label Studio is changed, since the token will be stored there
    label_studio = LabelStudio(access.url, access.token)
    config = _read_config(write_config) if write_config else None
    if config is not None and not yes:
        _ask_before_overwriting(label_studio, project)
    diagnostics = _diagnostics(settings, project, access)

    def findings() -> Iterator["Finding"]:
        for finding in diagnostics.connect(config):
            # Stored once Label Studio uses the backend, which then needs the token for pictures.
            if finding.connected:
                known = replace(access, url=label_studio.url, created=diagnostics.created)
                save_credentials(settings, project, known)
                _let_announce_again(settings, project)
            yield finding

    typer.echo(f"Connecting project {project} of {label_studio.url}")
    _finish(_show(findings()))
    typer.echo(f"Connected. Start labeling: {label_studio.url}/projects/{project}/data")


def doctor(
    project: Annotated[
        int | None,
        typer.Option(help="Project number.", show_default="all connected projects"),
    ] = None,
    url: Url = "",
    token: Token = "",
    token_file: TokenFile = None,
    backend_url: BackendUrl = "",
    security: Annotated[
        bool, typer.Option("--security", help="Only report weak settings of this installation.")
    ] = False,
    data: Data = None,
) -> None:
    """Check connected projects end to end, without changing anything."""
    from backend.label_studio.credentials import load_credentials

    settings = settings_of(data)
    if security:
        from backend.label_studio.probe import weak_settings

        _finish(_show(weak_settings(settings)))
        return
    bad = _show(_check_database(settings)) + _show(_check_model(settings))
    token = _read_token(token, token_file)
    saved = load_credentials(settings)
    for number in [project] if project is not None else list(saved):
        access = _access(settings, url, token, backend_url, saved.get(number))
        typer.echo(f"Checking project {number} of {access.url}")
        bad += _show(_diagnostics(settings, number, access).check())
    if project is None and not saved:
        typer.echo("No project is connected in this data folder: run phraseclick connect.")
        bad += 1
    _finish(bad)
    typer.echo("No problems found.")


def _check_database(settings: "Settings") -> Iterator["Finding"]:
    """Whether the backend's database can be opened, and is that of this version."""
    from backend.db.engine import Database
    from backend.db.migrations import check
    from backend.label_studio.probe import Finding

    if not settings.database_url and not (settings.data / "phraseclick.db").exists():
        yield Finding("database", None, "There is none yet: the backend has not run here.")
        return
    try:
        database = Database(settings.resolved_database_url)
        check(database)
        database.close()
    except DatabaseError as error:
        yield Finding("database", False, str(error))
    else:
        yield Finding("database", True, "It answers.")


def _check_model(settings: "Settings") -> Iterator["Finding"]:
    """Whether the model that serves projects without a version of their own can be loaded."""
    from backend.label_studio.probe import Finding
    from model.checkpoint import load
    from model.errors import CheckpointError

    try:
        checkpoint = load(settings.checkpoint)
    except CheckpointError as error:
        yield Finding("model", False, str(error))
    else:
        yield Finding("model", True, f"{checkpoint.version} loads.")


def disconnect(
    project: Annotated[int, typer.Option(help="Project number, as in its address.")],
    url: Url = "",
    token: Token = "",
    token_file: TokenFile = None,
    backend_url: BackendUrl = "",
    here_only: Annotated[
        bool,
        typer.Option("--here-only", help="Only forget the token; Label Studio is not asked."),
    ] = False,
    data: Data = None,
) -> None:
    """Take this backend off a Label Studio project. Labels, samples and versions stay."""
    from backend.label_studio.credentials import forget_credentials, load_credentials

    settings = settings_of(data)
    if not here_only:
        known = load_credentials(settings).get(project)
        access = _access(settings, url, _read_token(token, token_file), backend_url, known)
        typer.echo(f"Disconnecting project {project} of {access.url}")
        # The token is kept until Label Studio agreed: without it, nothing can be removed there.
        _finish(_show(_diagnostics(settings, project, access).disconnect()))
    forgotten = forget_credentials(settings, project)
    typer.echo("Disconnected." if forgotten or not here_only else "No token was stored here.")


def _read_token(token: str, file: Path | None) -> str:
    """The token of the options; '' if there is none."""
    if token:
        typer.echo(
            "--token shows the token to everybody on this machine. Use --token-file, "
            "PHRASECLICK_LABEL_STUDIO_TOKEN, or leave it out to be asked for it.",
            err=True,
        )
    if file is None:
        return token
    return _text_of(file).strip()


def _text_of(file: Path) -> str:
    """The text in a file, also as editors on Windows save it; - is standard input.

    Raises LabelStudioError.
    """
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text in UTF-8"
        raise LabelStudioError(f"{file} cannot be read: {reason}.") from error


def _access(
    settings: "Settings",
    url: str,
    token: str,
    backend_url: str,
    known: "Credentials | None" = None,
    *,
    ask: bool = False,
) -> "Credentials":
    """Addresses and token from the options, else from the settings, else as stored by connect.

    ask: ask for a missing token where a person sits in front of a terminal.
    """
    from backend.label_studio.credentials import Credentials
    from backend.label_studio.ssrf import read_address

    known = known or Credentials("", "", _DEFAULT_BACKEND)
    url = url or settings.label_studio_url or known.url
    token = token or settings.label_studio_token.get_secret_value() or known.token
    if url and not token and ask and sys.stdin.isatty():
        token = typer.prompt("Label Studio's personal access token", hide_input=True).strip()
    missing = [] if url else ["the address of Label Studio with --url"]
    if not token:
        missing.append(
            "a personal access token (Account & Settings in Label Studio) with --token-file"
        )
    if missing:
        raise LabelStudioError(f"Give {' and '.join(missing)}.")
    backend_url = read_address(backend_url or known.backend_url, backend=True)
    return Credentials(url, token, backend_url)


def _diagnostics(settings: "Settings", project: int, access: "Credentials") -> "Diagnostics":
    from backend.label_studio.client import LabelStudio
    from backend.label_studio.diagnostics import Diagnostics
    from backend.label_studio.probe import BackendProbe

    label_studio = LabelStudio(access.url, access.token)
    probe = BackendProbe(access.backend_url, settings)
    return Diagnostics(label_studio, project, access.backend_url, settings, probe)


def _let_announce_again(settings: "Settings", project: int) -> None:
    """Have the backend believe the next ``/setup`` of this project: an admin asked for it."""
    from backend.label_studio.projects import Projects

    try:
        with open_database(settings) as database:
            Projects(database).forget_announced(project)
    except DatabaseError as error:  # the backend may run elsewhere, with a database of its own
        typer.echo(f"The backend's database was not reached from here: {error}", err=True)


def _read_config(name: str) -> str:
    """The text of a labeling config: a file, or one of ``plugin_config`` by name."""
    ready = {path.stem: path for path in sorted(_CONFIGS.glob("*.xml"))}
    path = ready.get(name.removesuffix(".xml"), Path(name))
    if not path.is_file():
        raise LabelConfigError(
            f"There is no labeling config '{name}'. Give a file, or one of: {', '.join(ready)}."
        )
    return _text_of(path)


def _ask_before_overwriting(label_studio: "LabelStudio", project: int) -> None:
    present = label_studio.project(project).get("label_config") or ""
    if present.replace(" ", "") not in ("", "<View></View>"):
        typer.confirm(f"Overwrite the labeling config of project {project}?", abort=True)


def _show(findings: Iterator["Finding"]) -> int:
    """Print each finding as soon as it is known; return the number of problems."""
    from rich.markup import escape
    from rich.table import Table

    from backend.logs import escaped

    output = console(soft_wrap=False)
    bad = 0
    for finding in findings:
        mark = {True: "[green]ok[/]", None: "[yellow]note[/]", False: "[red]bad[/]"}[finding.good]
        row = Table.grid(padding=(0, 2))
        for width in (4, 15):
            row.add_column(width=width, no_wrap=True)
        row.add_column()
        row.add_row(mark, finding.about, escape(escaped(finding.sentence)))
        output.print(row)
        bad += finding.good is False
    return bad


def _finish(bad: int) -> None:
    if bad:
        typer.echo(f"{bad} problem{'s' if bad > 1 else ''} to fix.")
        raise typer.Exit(1)
