"""Starts a real Label Studio, for the demonstration and the tests.

Label Studio has its own virtual environment, since it pins other versions of our dependencies. Its
first start on a new data folder takes most of a minute for database migrations. So an empty,
migrated database is kept next to the program, per version, and copied into each new folder.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from backend.errors import DemoError
from backend.worker.child_process import Child, Progress, free_port
from model.files import exclusive

ENVIRONMENT = ".venv-label-studio"
DATABASE = "label_studio.sqlite3"
# The first start takes 55 s on an idle machine, minutes on a busy one.
START_SECONDS = 420.0


# Without the first, a backend on this machine is refused (403); without the second, it is connected
# without a webhook.
ALLOW_PRIVATE = ("ML_BLOCK_LOCAL_IP", "SSRF_PROTECTION_ENABLED")


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio and its user. token: a legacy one, sent as ``Token …``."""

    url: str
    data: Path
    child: Child
    token: str
    user: str = "annotator@example.com"
    password: str = "click-and-phrase"

    def answers(self, path: str) -> bool:
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Token {self.token}"} if self.token else {}
            try:
                return session.get(f"{self.url}{path}", headers=headers, timeout=5).ok
            except requests.RequestException:
                return False


@contextmanager
def label_studio(
    data: Path,
    *,
    program: Path | None = None,
    token: str = "",
    progress: Progress = print,
    allow_private: Sequence[str] = ALLOW_PRIVATE,
) -> Iterator[LabelStudioServer]:
    """Start Label Studio on a free port of 127.0.0.1, wait until it answers, stop it afterwards.

    Args:
        data: folder of all its state; created if missing, reused if it has a database.
        program: the ``label-studio`` program; None: from ``find_program``.
        token: of its user; empty: a new one.
        progress: called with a line of text while something takes long.
        allow_private: variables that allow private addresses, which it refuses by default.
    """
    program = program or find_program()
    token = token or secrets.token_hex(20)
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    if not (data / DATABASE).exists():
        shutil.copyfile(_migrated_database(program, progress), data / DATABASE)
    variables = {
        "LABEL_STUDIO_USERNAME": LabelStudioServer.user,
        "LABEL_STUDIO_PASSWORD": LabelStudioServer.password,
        "LABEL_STUDIO_USER_TOKEN": token,
        **dict.fromkeys(allow_private, "false"),
    }
    with _started(program, data, token, variables) as server:
        _wait(server, "/api/current-user/whoami", progress, "Label Studio starts")
        yield server


def find_program() -> Path:
    """The ``label-studio`` program of this checkout's environment, else the one on PATH.

    Raises:
        DemoError: Label Studio is not installed.
    """
    checkout = Path(__file__).resolve().parents[2]
    for folder in (Path.cwd(), checkout):
        program = folder / ENVIRONMENT / "bin" / "label-studio"
        if program.exists():
            return program
    if on_path := shutil.which("label-studio"):
        return Path(on_path)
    raise DemoError("Label Studio is not installed: run 'make setup-label-studio' in the checkout.")


@contextmanager
def _started(
    program: Path, data: Path, token: str, variables: Mapping[str, str]
) -> Iterator[LabelStudioServer]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LABEL_STUDIO_", "DJANGO_", "ML_", "SSRF_", "PYTHON", "POSTGRE"))
    }
    own = {
        "LABEL_STUDIO_BASE_DATA_DIR": str(data),
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
        "LOCAL_FILES_SERVING_ENABLED": "true",
        "LOCAL_FILES_DOCUMENT_ROOT": str(data),
        "COLLECT_ANALYTICS": "false",
        "LATEST_VERSION_CHECK": "false",
        "SENTRY_DSN": "",
        "FRONTEND_SENTRY_DSN": "",
        # Requests to a backend on this machine must not go through a proxy.
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PYTHONUNBUFFERED": "1",
    }
    port = free_port()
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    with Child(
        "Label Studio",
        [*command, "-p", str(port)],
        log=data / "label-studio.log",
        environment={**inherited, **own, **variables},
    ) as child:
        yield LabelStudioServer(f"http://127.0.0.1:{port}", data, child, token)


def _wait(server: LabelStudioServer, path: str, progress: Progress, doing: str) -> None:
    server.child.wait_until(
        lambda: server.answers(path), seconds=START_SECONDS, progress=progress, doing=doing
    )


def _migrated_database(program: Path, progress: Progress) -> Path:
    """An empty, migrated database, created once per version of Label Studio."""
    folder = program.resolve().parent.parent / "phraseclick" / _version(program)
    database = folder / DATABASE
    folder.mkdir(parents=True, exist_ok=True)
    # Parallel tests wait for the first one.
    with exclusive(folder / "lock"):
        if database.exists():
            return database
        progress("Label Studio creates its database (once, about a minute)")
        making = folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        # Without a user, since each copy gets its own.
        with _started(program, making, "", {}) as server:
            _wait(server, "/health", progress, "Label Studio creates its database")
        (making / DATABASE).rename(database)
        shutil.rmtree(making)
    return database


def _version(program: Path) -> str:
    python = program.resolve().parent / "python"
    question = "from importlib.metadata import version; print(version('label-studio'))"
    answer = subprocess.run(
        [str(python), "-c", question], check=True, capture_output=True, text=True, timeout=60
    )
    return answer.stdout.strip()
