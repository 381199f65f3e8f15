"""What ``phraseclick doctor --security`` reports: each weak setting, with what to do."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from backend.errors import CredentialsError
from backend.label_studio.credentials import load_credentials, webhook_secret
from backend.label_studio.diagnostics import Finding
from backend.settings import Settings

_SHORT = 12
_MANY_PIXELS = 200_000_000


def findings(settings: Settings) -> Iterator[Finding]:
    """The findings for these settings and their data folder, the gravest kinds first."""
    yield _password(settings)
    yield _secret(settings)
    yield _data_folder(settings.data)
    yield _label_studio(settings)
    yield from _limits(settings)


def _password(settings: Settings) -> Finding:
    if not settings.has_password:
        return Finding(
            "password",
            None,
            "None is set: everyone who reaches the port may use every route. The server then "
            "listens on this machine only, unless it was started with --without-password.",
        )
    if len(settings.basic_auth_password.get_secret_value()) < _SHORT:
        return Finding("password", False, f"It is shorter than {_SHORT} characters.")
    return Finding("password", True, "Set. Only /health answers without it.")


def _secret(settings: Settings) -> Finding:
    try:
        secret = webhook_secret(settings)
    except CredentialsError as error:
        return Finding("webhook", False, str(error))
    if not secret:
        return Finding(
            "webhook",
            False,
            "There is no secret, so everyone who reaches the port can send labels. Run "
            "phraseclick connect.",
        )
    if len(secret) < _SHORT:
        return Finding("webhook", False, f"The secret is shorter than {_SHORT} characters.")
    return Finding("webhook", True, "Asks for its secret.")


def _data_folder(folder: Path) -> Finding:
    if not folder.exists():
        return Finding("data folder", None, f"{folder} does not exist yet.")
    state = folder.stat()
    if hasattr(os, "getuid") and state.st_uid != os.getuid():
        return Finding("data folder", False, f"{folder} belongs to another user.")
    if state.st_mode & 0o077:
        return Finding("data folder", False, f"Other users can open it: chmod 700 {folder}")
    loose = [path.name for path in sorted(folder.iterdir()) if path.stat().st_mode & 0o077]
    if loose:
        return Finding(
            "data folder",
            None,
            f"Closed to others, though {', '.join(loose[:5])} would be readable. The next start "
            "of the backend sets that right.",
        )
    return Finding("data folder", True, "Only its owner can open it.")


def _label_studio(settings: Settings) -> Finding:
    try:
        urls = {known.url for known in load_credentials(settings).values()}
    except CredentialsError as error:
        return Finding("Label Studio", False, str(error))
    urls |= {settings.label_studio_url} - {""}
    if not urls:
        return Finding(
            "Label Studio",
            None,
            "None was configured or connected. Hosts that only announce themselves are asked at "
            "public addresses only.",
        )
    plain = sorted(url for url in urls if urlsplit(url).scheme == "http" and not _is_here(url))
    if plain:
        return Finding(
            "Label Studio",
            None,
            f"Tokens go to {', '.join(plain)} without encryption. Use https on an open network.",
        )
    return Finding("Label Studio", True, f"Trusted: {', '.join(sorted(urls))}.")


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


def _limits(settings: Settings) -> Iterator[Finding]:
    if settings.allow_private_addresses:
        yield Finding(
            "pictures",
            False,
            "PHRASECLICK_ALLOW_PRIVATE_ADDRESSES is set: everyone who imports tasks can have this "
            "machine send requests into its private network.",
        )
    else:
        yield Finding("pictures", True, "Are read from public addresses and Label Studio only.")
    if settings.picture_max_pixels > _MANY_PIXELS:
        yield Finding("picture size", None, "PHRASECLICK_PICTURE_MAX_PIXELS is very high.")
    if settings.database_url and urlsplit(settings.database_url).password == "":
        yield Finding("database", None, "Its URL has an empty password.")
