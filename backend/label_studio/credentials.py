"""Secrets in the data folder: access to Label Studio per project, and the webhook's secret.

``phraseclick connect`` writes both files, and the server reads them when it needs them, so neither
a new project nor a new secret needs a restart. The settings ``PHRASECLICK_LABEL_STUDIO_URL``,
``…_TOKEN`` and ``PHRASECLICK_WEBHOOK_SECRET`` come first. Without a secret, ``/webhook`` accepts
anything.

Label Studio's ``/setup`` announces a token too, but new installations refuse that one, and without
a valid token no uploaded picture can be fetched.
"""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.settings import Settings
from model.files import atomic_write

CREDENTIALS_FILE = "label-studio-access.json"
SECRET_FILE = "webhook-secret"
SECRET_HEADER = "X-PhraseClick-Secret"


@dataclass(frozen=True)
class Credentials:
    """Where a project's Label Studio is, its token, and this backend's address as it sees it."""

    url: str
    token: str = field(repr=False)
    backend_url: str


def load_credentials(settings: Settings) -> dict[int, Credentials]:
    """Credentials by project id."""
    try:
        rows = json.loads((settings.data / CREDENTIALS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {int(project): Credentials(**row) for project, row in rows.items()}


def save_credentials(settings: Settings, project: int, credentials: Credentials) -> Path:
    """Save a project's credentials in a file that only its owner can read."""
    known = load_credentials(settings) | {project: credentials}
    rows = {str(number): asdict(one) for number, one in sorted(known.items())}
    path = settings.data / CREDENTIALS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(rows, indent=1), private=True)
    return path


def webhook_secret(settings: Settings) -> str:
    """The secret that ``/webhook`` requires; '' if none is set. Reads one small file."""
    chosen = settings.webhook_secret.get_secret_value()
    if chosen:
        return chosen
    try:
        return (settings.data / SECRET_FILE).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def make_webhook_secret(settings: Settings) -> str:
    """The webhook's secret; creates one if there is none."""
    if not webhook_secret(settings):
        settings.data.mkdir(parents=True, exist_ok=True)
        write_once(settings.data / SECRET_FILE, secrets.token_urlsafe(32))
    return webhook_secret(settings)


def write_once(path: Path, secret: str) -> None:
    """Create a file that only its owner can read, unless another process has just created it."""
    with suppress(FileExistsError):
        atomic_write(path, secret, private=True, only_new=True)


def backend_login(settings: Settings) -> dict[str, Any]:
    """User and password of this backend, as fields of Label Studio's connection; {} without one.

    Label Studio tests a changed connection with the fields of the request, not with those it has,
    so every change must contain them.
    """
    password = settings.basic_auth_password.get_secret_value()
    if not (settings.basic_auth_user and password):
        return {}
    return {
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": settings.basic_auth_user,
        "basic_auth_pass": password,
    }


def is_sendable(settings: Settings) -> bool:
    """Whether Label Studio can send this backend's user and password, as ``requests`` does."""
    try:
        "".join(str(value) for value in backend_login(settings).values()).encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def forget_credentials(settings: Settings, project: int) -> bool:
    """Remove a project's credentials; whether there were any."""
    known = load_credentials(settings)
    if known.pop(project, None) is None:
        return False
    rows = {str(number): asdict(one) for number, one in sorted(known.items())}
    atomic_write(settings.data / CREDENTIALS_FILE, json.dumps(rows, indent=1), private=True)
    return True
