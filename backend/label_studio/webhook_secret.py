"""Where the webhook's secret lives: the setting, else a file in the data folder.

``phraseclick connect`` makes the file and puts the secret into Label Studio's webhook; the server
reads it as soon as it is there, without a restart. With neither, ``/webhook`` takes anything.
"""

import os
import secrets
import tempfile
from pathlib import Path

from backend.settings import Settings

FILE_NAME = "webhook-secret"
SECRET_HEADER = "X-PhraseClick-Secret"


def webhook_secret(settings: Settings) -> str:
    """The secret that ``/webhook`` asks for; '' where none is set. One small read of a file."""
    chosen = settings.webhook_secret.get_secret_value()
    if chosen:
        return chosen
    try:
        return (settings.data / FILE_NAME).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def make_webhook_secret(settings: Settings) -> str:
    """The secret, made and kept for this data folder's user alone where there was none."""
    if not webhook_secret(settings):
        settings.data.mkdir(parents=True, exist_ok=True)
        write_once(settings.data / FILE_NAME, secrets.token_urlsafe(32))
    return webhook_secret(settings)


def write_once(path: Path, secret: str) -> None:
    """Whole or not at all, and never over the secret of a command that was quicker."""
    handle, draft = tempfile.mkstemp(dir=path.parent)  # mkstemp: for its owner's eyes alone
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret)
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        os.unlink(draft)
