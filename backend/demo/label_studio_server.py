"""Starts a real Label Studio, for the demonstration and the tests.

Label Studio has its own virtual environment, since it pins other versions of our dependencies. Its
first start on a new data folder takes most of a minute for database migrations. So an empty,
migrated database is kept next to the program, per version, and copied into each new folder.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests

from backend.errors import DemoError
from backend.worker.child_process import Child, Progress, free_port
from model.files import exclusive

ENVIRONMENT = ".venv-label-studio"
DATABASE = "label_studio.sqlite3"
# The first start takes 55 s on an idle machine, minutes on a busy one.
START_SECONDS = 420.0


@dataclass(frozen=True)
class Account:
    """The user of this Label Studio. token: a legacy one, sent as ``Token …``."""

    user: str = "annotator@example.com"
    password: str = "click-and-phrase"
    token: str = field(default_factory=lambda: secrets.token_hex(20))


@dataclass(frozen=True)
class LabelStudioServer:
    """A running Label Studio."""

    url: str
    account: Account
    data: Path
    child: Child

    @property
    def user(self) -> str:
        """E-mail address of the log-in."""
        return self.account.user

    @property
    def password(self) -> str:
        """Password of the log-in."""
        return self.account.password

    @property
    def token(self) -> str:
        """Legacy API token of the log-in."""
        return self.account.token


@contextmanager
def label_studio(
    data: Path,
    *,
    program: Path | None = None,
    account: Account | None = None,
    progress: Progress = print,
    protected: bool = False,
    variables: Mapping[str, str] | None = None,
) -> Iterator[LabelStudioServer]:
    """Start Label Studio on a free port of 127.0.0.1, wait until it answers, stop it afterwards.

    Args:
        data: folder of all its state; created if missing, reused if it has a database.
        program: the ``label-studio`` program; None: from ``find_program``.
        account: its user; None: a new one.
        progress: called with a line of text while something takes long.
        protected: refuse private addresses, as Label Studio does by default.
        variables: more environment variables for Label Studio.
    """
    program = program or find_program()
    account = account or Account()
    data = data.resolve()
    data.mkdir(parents=True, exist_ok=True)
    if not (data / DATABASE).exists():
        shutil.copyfile(_migrated_database(program, progress), data / DATABASE)
    environment = _environment(data, account, protected=protected) | dict(variables or {})
    with _run(program, data, account, environment) as server:

        def answers() -> bool:
            return _answers(f"{server.url}/api/current-user/whoami", account.token)

        server.child.wait_until(
            answers, seconds=START_SECONDS, progress=progress, doing="Label Studio starts"
        )
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
def _run(
    program: Path, data: Path, account: Account, environment: Mapping[str, str]
) -> Iterator[LabelStudioServer]:
    port = free_port()
    command = [str(program), "start", "--no-browser", "--internal-host", "127.0.0.1"]
    child = Child(
        "Label Studio",
        [*command, "-p", str(port)],
        log=data / "label-studio.log",
        environment=environment,
    )
    with child:
        yield LabelStudioServer(f"http://127.0.0.1:{port}", account, data, child)


def _environment(data: Path, account: Account | None, *, protected: bool = True) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LABEL_STUDIO_", "DJANGO_", "ML_", "SSRF_", "PYTHON", "POSTGRE"))
    }
    environment = inherited | {
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
    if not protected:
        # Without the first, a backend on this machine is refused (403); without the second, it
        # is connected without a webhook.
        environment |= {"ML_BLOCK_LOCAL_IP": "false", "SSRF_PROTECTION_ENABLED": "false"}
    if account:
        environment |= {
            "LABEL_STUDIO_USERNAME": account.user,
            "LABEL_STUDIO_PASSWORD": account.password,
            "LABEL_STUDIO_USER_TOKEN": account.token,
        }
    return environment


def _migrated_database(program: Path, progress: Progress) -> Path:
    """An empty, migrated database, created once per version of Label Studio."""
    folder = program.resolve().parent.parent / "phraseclick" / _version(program)
    database = folder / DATABASE
    if database.exists():
        return database
    folder.mkdir(parents=True, exist_ok=True)
    # Parallel tests wait for the first one.
    with exclusive(folder / "lock"):
        if database.exists():
            return database
        progress("Label Studio creates its database (once, about a minute)")
        making = folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir()
        # Without an account, since each copy gets its own user.
        with _run(program, making, Account(), _environment(making, None)) as server:
            server.child.wait_until(
                lambda: _answers(f"{server.url}/health"),
                seconds=START_SECONDS,
                progress=progress,
                doing="Label Studio creates its database",
            )
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


def _answers(url: str, token: str | None = None) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Token {token}"} if token else {}
        try:
            return session.get(url, headers=headers, timeout=5).ok
        except requests.RequestException:
            return False
