"""The files of a checkpoint: names, checksums and atomic writes.

Separate from ``checkpoint.py``, so that code that only moves checkpoints (a registry, a command
line) does not load torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model.errors import CheckpointError
from model.files import sync_folder

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
VOCABULARY = "vocabulary.json"
METRICS = "metrics.json"
SUMS = "SHA256SUMS"
FILES = (WEIGHTS, CONFIG, VOCABULARY, METRICS)
SHIPPED = "shipped"

SHIPPED_FOLDER = Path(__file__).parent / SHIPPED


def read(path: Path) -> dict[str, bytes]:
    """The contents of FILES and of SHA256SUMS, each checked by its sum.

    Raises CheckpointError with what is wrong: no such folder, a file missing or damaged.
    """
    sums = read_sums(path)
    contents = {}
    for file in FILES:
        if file not in sums:
            raise CheckpointError(f"{path / SUMS} does not name {file}; copy the checkpoint again.")
        try:
            contents[file] = (path / file).read_bytes()
        except OSError as error:
            raise CheckpointError(f"Cannot read {path / file}: {error.strerror}.") from error
        if sha256(contents[file]) != sums[file]:
            raise CheckpointError(
                f"{path / file} is damaged: its SHA-256 is not the one in {SUMS}. "
                "Copy or download the checkpoint again."
            )
    contents[SUMS] = (path / SUMS).read_bytes()
    return contents


def read_sums(path: Path) -> dict[str, str]:
    """SHA-256 by file. Raises CheckpointError if there is no checkpoint."""
    if not path.is_dir():
        raise CheckpointError(f"There is no checkpoint directory at {path}.")
    try:
        return parse_sums((path / SUMS).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} has no readable {SUMS}: it is not a checkpoint.") from error


def parse_sums(text: str) -> dict[str, str]:
    """SHA-256 by file, parsed from the text of a SHA256SUMS."""
    pairs = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return {pair[1].strip().lstrip("*"): pair[0] for pair in pairs if len(pair) == 2}


def about(path: Path) -> dict[str, Any]:
    """Version, parent and metrics from ``metrics.json``. Raises CheckpointError."""
    read_sums(path)
    try:
        stored = json.loads((path / METRICS).read_bytes())
        return {**stored, "version": str(stored["version"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this program: {error}") from error


def write_whole(target: Path, contents: Mapping[str, bytes]) -> None:
    """Write a folder of files atomically: it appears complete or not at all.

    Raises CheckpointError if the folder exists or cannot be written.
    """
    if target.exists():
        raise CheckpointError(f"{target} exists already; a checkpoint is never overwritten.")
    partial = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        for file, data in contents.items():
            _write_synced(partial / file, data)
        partial.chmod(0o755)  # mkdtemp's 0700 would hide it from a server of another user
        sync_folder(partial)
        partial.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise CheckpointError(f"Cannot write the checkpoint {target}: {error}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def sums_text(contents: Mapping[str, bytes]) -> str:
    """The text of SHA256SUMS, in the format of sha256sum."""
    return "".join(f"{sha256(data)}  {file}\n" for file, data in sorted(contents.items()))


def sha256(data: bytes) -> str:
    """Hex digits."""
    return hashlib.sha256(data).hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
