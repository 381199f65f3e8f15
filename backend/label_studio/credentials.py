"""The Label Studio that ``phraseclick connect`` was told of, kept per project in the data folder.

Label Studio's ``/setup`` announces a token too, but on new installations that one is dead; without
a living token no uploaded picture can be fetched. The server reads this file when it needs a
project's token, so a project connected while it runs works at once. The settings
``PHRASECLICK_LABEL_STUDIO_URL`` and ``…_TOKEN`` come before what is kept here.
"""

import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from backend.settings import Settings

FILE_NAME = "label-studio-access.json"


@dataclass(frozen=True)
class KeptAccess:
    """Where a project's Label Studio answers, with which token, and how it sees this backend."""

    url: str
    token: str = field(repr=False)
    backend_url: str


def kept_access(settings: Settings) -> dict[int, KeptAccess]:
    """What is kept, by project id."""
    try:
        rows = json.loads(_path(settings).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {int(project): KeptAccess(**row) for project, row in rows.items()}


def keep_access(settings: Settings, project: int, access: KeptAccess) -> Path:
    """Keep a project's access, for the eyes of the data folder's owner alone."""
    kept = kept_access(settings) | {project: access}
    rows = {
        str(number): {"url": one.url, "token": one.token, "backend_url": one.backend_url}
        for number, one in sorted(kept.items())
    }
    path = _path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent)  # mkstemp: for its owner's eyes alone
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    os.replace(draft, path)
    return path


def _path(settings: Settings) -> Path:
    return settings.data / FILE_NAME
