"""Secrets in the data folder: access to Label Studio per project, and the webhook's secret.

``phraseclick connect`` writes both files, and the server reads them when it needs them, so neither
a new project nor a new secret needs a restart. The settings ``PHRASECLICK_LABEL_STUDIO_URL``,
``…_TOKEN`` and ``PHRASECLICK_WEBHOOK_SECRET`` come first. As long as there is no secret,
``/webhook`` accepts anything; a file that is there and cannot be read is an error, and closes it.

Label Studio's ``/setup`` announces a token too, but new installations refuse that one, and without
a valid token no uploaded picture can be fetched.
"""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import CredentialsError
from backend.label_studio.payloads import Project
from backend.settings import Settings
from model.files import atomic_write, private_folder

CREDENTIALS_FILE = "label-studio-access.json"
SECRET_FILE = "webhook-secret"
SECRET_HEADER = "X-PhraseClick-Secret"


@dataclass(frozen=True)
class Credentials:
    """Where a project's Label Studio is, its token, and this backend's address as it sees it."""

    url: str
    token: str = field(repr=False)
    backend_url: str
    created: str = ""  # second half of the project's key, once it is known

    def belongs(self, project: Project) -> bool:
        """Whether they are those of this project, not of one with its number on another host."""
        return not self.created or not project.created or self.created == project.created


def load_credentials(settings: Settings) -> dict[int, Credentials]:
    """Credentials by project id. Raises CredentialsError if the file cannot be read."""
    path = settings.data / CREDENTIALS_FILE
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        known = {int(project): Credentials(**row) for project, row in rows.items()}
        if all(isinstance(text, str) for one in known.values() for text in astuple(one)):
            return known
        raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CredentialsError(
            f"The stored access to Label Studio cannot be read ({path}: {_reason(error)}). Run "
            "phraseclick connect for each project again."
        ) from error


def save_credentials(settings: Settings, project: int, credentials: Credentials) -> Path:
    """Save a project's credentials in a file that only its owner can read.

    A damaged file is set aside first, as ``.damaged``.
    """
    try:
        known = load_credentials(settings)
    except CredentialsError:
        path = settings.data / CREDENTIALS_FILE
        path.replace(path.with_name(f"{path.name}.damaged"))
        known = {}
    return _write(settings, known | {project: credentials})


def forget_credentials(settings: Settings, project: int) -> bool:
    """Remove a project's credentials; whether there were any."""
    known = load_credentials(settings)
    if known.pop(project, None) is None:
        return False
    _write(settings, known)
    return True


def _write(settings: Settings, known: dict[int, Credentials]) -> Path:
    path = settings.data / CREDENTIALS_FILE
    rows = {str(number): asdict(one) for number, one in sorted(known.items())}
    private_folder(path.parent)
    atomic_write(path, json.dumps(rows, indent=1), private=True)
    return path


def webhook_secret(settings: Settings) -> str:
    """The secret that ``/webhook`` requires; '' if none was made. Reads one small file.

    Raises CredentialsError if there is a file, but no secret can be read from it.
    """
    chosen = settings.webhook_secret.get_secret_value()
    if chosen:
        return chosen
    path = settings.data / SECRET_FILE
    try:
        if secret := path.read_text(encoding="ascii").strip():
            return secret
        why = "it is empty"
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        why = _reason(error)
    raise CredentialsError(
        f"The webhook's secret cannot be read ({path}: {why}). Delete the file and run phraseclick "
        "connect for each project again."
    )


def make_webhook_secret(settings: Settings) -> str:
    """The webhook's secret; creates one if there is none, or if its file is damaged."""
    path = settings.data / SECRET_FILE
    try:
        known = webhook_secret(settings)
    except CredentialsError:
        path.unlink(missing_ok=True)
        known = ""
    if not known:
        private_folder(settings.data)
        write_once(path, secrets.token_urlsafe(32))
    return known or webhook_secret(settings)


def _reason(error: Exception) -> str:
    return (error.strerror or "not readable") if isinstance(error, OSError) else "it is damaged"


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
