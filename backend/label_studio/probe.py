"""Checks of this installation for connect and doctor: the running backend's answers, its webhook,
one click; and each weak setting.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import HTTPBasicAuth
from urllib3.exceptions import HTTPError

from backend.errors import CredentialsError
from backend.label_studio.controls import ImageControls
from backend.label_studio.credentials import SECRET_HEADER, load_credentials, webhook_secret
from backend.label_studio.ssrf import Deadline, TimedAdapter, read_body, why
from backend.settings import Settings, unknown_variables

# The longest silence, and for a whole answer: seconds and bytes.
_TIMEOUT_S = 5.0
_ANSWER_S, _ANSWER_BYTES = 15.0, 8 << 20
# Label Studio sends within its own request, or a moment later if it has a queue.
_ARRIVES_WITHIN_S = 6.0

# Label Studio passes the context on unchanged. The backend answers a probe like any click, but
# neither remembers nor counts it: a check must leave nothing behind on an annotator's task.
PROBE = {"probe": True}

_SHORT = 12
_MANY_PIXELS = 200_000_000

_Verdict = tuple[bool | None, str]


@dataclass(frozen=True)
class Finding:
    """The result of one step. ``good`` is None for a note that does not stop anything."""

    about: str
    good: bool | None
    sentence: str

    @property
    def connected(self) -> bool:
        """Whether this is the step after which Label Studio uses the backend."""
        return self.about == "connection" and self.good is True


class BackendProbe:
    """Requests to the backend at ``url`` from this machine. ``why``: why the last one failed."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url.rstrip("/")
        self.why = ""
        self._session = requests.Session()
        for prefix in ("http://", "https://"):
            self._session.mount(prefix, TimedAdapter())
        password = settings.basic_auth_password.get_secret_value()
        if settings.basic_auth_user and password:
            # As bytes, since requests refuses text that is not Latin-1.
            self._session.auth = HTTPBasicAuth(settings.basic_auth_user.encode(), password.encode())

    @cached_property
    def version(self) -> str:
        """The model version that it served at the first request; '' if there was no answer."""
        return self.ask_version()

    def ask_version(self, project: int | None = None) -> str:
        """The model version that it serves now, to a project or to projects without one of their
        own; '' if there is no answer."""
        answer = self._ask("GET", "/health" if project is None else f"/health?project={project}")
        if answer is None or not answer.ok:
            return ""
        try:
            return str(answer.json()["model_version"])
        except (ValueError, RecursionError, KeyError, TypeError):
            self.why = "something else than PhraseClick answers there"
            return ""

    def guards_webhook(self, secret: str) -> bool | None:
        """Whether ``/webhook`` accepts this secret and no other; None if there is no answer."""
        # An event without an action is always refused, but only after the secret was checked.
        right = self._ask("POST", "/webhook", headers={SECRET_HEADER: secret}, json={})
        wrong = self._ask("POST", "/webhook", headers={SECRET_HEADER: f"{secret[::-1]}x"}, json={})
        if right is None or wrong is None:
            return None
        return right.status_code != 401 and wrong.status_code == 401

    def deliveries(self, action: str) -> float | None:
        """Number of webhook events of an action stored since its start; None without an answer."""
        answer = self._ask("GET", "/metrics")
        if answer is None or not answer.ok:
            return None
        pattern = rf'^phraseclick_deliveries_total{{action="{re.escape(action)}"}} (\S+)$'
        match = re.search(pattern, answer.text, re.MULTILINE)
        return float(match[1]) if match else 0.0

    def arrived(self, action: str, *, more_than: float) -> bool:
        """Whether more events of an action are stored within a few seconds."""
        deadline = time.monotonic() + _ARRIVES_WITHIN_S
        while time.monotonic() < deadline:
            if (self.deliveries(action) or 0.0) > more_than:
                return True
            time.sleep(0.1)
        return False

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response | None:
        url = f"{self.url}{path}"
        try:
            with (
                Deadline(_ANSWER_S) as deadline,
                self._session.request(
                    method, url, timeout=_TIMEOUT_S, stream=True, **options
                ) as answer,
            ):
                answer._content = read_body(answer, deadline, _ANSWER_BYTES, OSError("too much"))
        except (OSError, HTTPError) as error:
            self.why = why(requests.Timeout() if deadline.passed else error)
            return None
        if answer.status_code == 401:
            self.why = "it asks for another user and password: run this with those of the backend"
        else:
            self.why = "" if answer.ok else f"it answered {answer.status_code}"
        return answer


def trial_prompt(image: ImageControls) -> dict[str, Any] | None:
    """The item of a click in the middle of the picture, or of a phrase if clicks send nothing.

    None if the image has neither smart key points nor a phrase.
    """
    common = {"id": "phraseclick", "to_name": image.name, "origin": "manual"}
    for control in image.clicks:
        if not control.smart:
            continue
        value: dict[str, Any] = {"x": 50.0, "y": 50.0, "width": 0.3}
        objects = [label.label for label in control.labels if label.role == "object"]
        if objects:
            key = "keypointlabels" if control.type == "keypointlabels" else "labels"
            value[key] = [objects[0].written]
        return {
            **common,
            "from_name": control.name,
            "type": control.type if objects else "keypoint",
            "value": value,
        }
    if image.phrase:
        words = image.labels[0][1].value if image.labels else "object"
        text = {"text": [words]}
        return {**common, "from_name": image.phrase, "type": "textarea", "value": text}
    return None


def read_answer(answer: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether Label Studio's answer contains a mask, and a sentence about it."""
    if answer.get("errors"):
        errors = "; ".join(map(str, answer["errors"]))
        return False, f"Label Studio got no answer from the backend: {errors}"
    data = answer.get("data")
    result = (data.get("result") if isinstance(data, dict) else None) or []
    said = " ".join(
        str(text)
        for item in result
        if item.get("type") == "textarea"
        for text in item["value"]["text"][:1]
    )
    if any({"rle", "points", "imageDataURL"} & item.get("value", {}).keys() for item in result):
        return True, f"a mask came back. {said}".strip()
    if said:
        return False, f"no mask. {said}"
    return False, "no mask, and the config has no text area 'status' that could say why."


# -- weak settings


def weak_settings(settings: Settings) -> Iterator[Finding]:
    """What ``phraseclick doctor --security`` reports about the settings and their data folder."""
    checks = {
        "password": _password,
        "webhook": _secret,
        "data folder": _data_folder,
        "Label Studio": _label_studio,
        "pictures": _pictures,
    }
    for about, check in checks.items():
        yield Finding(about, *check(settings))
    if unknown := unknown_variables():
        yield Finding("settings", False, f"There are no settings {', '.join(unknown)}.")
    if settings.picture_max_pixels > _MANY_PIXELS:
        yield Finding("picture size", None, "PHRASECLICK_PICTURE_MAX_PIXELS is very high.")
    if re.search(r"://[^/:@]*:@", settings.database_url):
        yield Finding("database", None, "Its URL has an empty password.")
    broker = urlsplit(settings.broker_url)
    if broker.hostname and not broker.password and not _is_here(settings.broker_url):
        yield Finding(
            "broker", None, "Its URL has no password: nobody but the backend may reach it."
        )


def _password(settings: Settings) -> _Verdict:
    given = settings.basic_auth_user, settings.basic_auth_password.get_secret_value()
    if any(given) and not all(given):
        return False, (
            "None is asked for: PHRASECLICK_BASIC_AUTH_USER and PHRASECLICK_BASIC_AUTH_PASSWORD "
            "have to be set both, and one is missing."
        )
    if not settings.has_password:
        return None, (
            "None is set: everyone who reaches the port may use every route. The server then "
            "listens on this machine only, unless it was started with --without-password."
        )
    if len(settings.basic_auth_password.get_secret_value()) < _SHORT:
        return False, f"It is shorter than {_SHORT} characters."
    return True, "Set. Only /health answers without it, and /webhook with its secret instead."


def _secret(settings: Settings) -> _Verdict:
    try:
        secret = webhook_secret(settings)
    except CredentialsError as error:
        return False, str(error)
    if not secret:
        return False, (
            "There is no secret, so everyone who reaches the port can send labels. Run "
            "phraseclick connect."
        )
    if len(secret) < _SHORT:
        return False, f"The secret is shorter than {_SHORT} characters."
    return True, "Asks for its secret."


def _data_folder(settings: Settings) -> _Verdict:
    folder = settings.data
    if not folder.exists():
        return None, f"{folder} does not exist yet."
    state = folder.stat()
    if hasattr(os, "getuid") and state.st_uid != os.getuid():
        return False, f"{folder} belongs to another user."
    if state.st_mode & 0o077:
        return False, f"Other users can open it: chmod 700 {folder}"
    loose = [
        path.name
        for path in sorted(folder.iterdir())
        if path.exists() and path.stat().st_mode & 0o077  # not a link to nowhere
    ]
    if loose:
        return None, (
            f"Closed to others, though {', '.join(loose[:5])} would be readable. The next start "
            "of the backend sets that right."
        )
    return True, "Only its owner can open it."


def _label_studio(settings: Settings) -> _Verdict:
    try:
        urls = {known.url for known in load_credentials(settings).values()}
    except CredentialsError as error:
        return False, str(error)
    urls |= {settings.label_studio_url} - {""}
    if not urls:
        return None, (
            "None was configured or connected. Hosts that only announce themselves are asked at "
            "public addresses only."
        )
    plain = sorted(url for url in urls if urlsplit(url).scheme == "http" and not _is_here(url))
    if plain:
        return None, (
            f"Tokens go to {', '.join(plain)} without encryption. Use https on an open network."
        )
    return True, f"Trusted: {', '.join(sorted(urls))}."


def _pictures(settings: Settings) -> _Verdict:
    if settings.allow_private_addresses:
        return False, (
            "PHRASECLICK_ALLOW_PRIVATE_ADDRESSES is set: everyone who imports tasks can have this "
            "machine send requests into its private network."
        )
    shared = settings.local_files_root
    if shared and settings.data.resolve().is_relative_to(shared.resolve()):
        return False, (
            "PHRASECLICK_LOCAL_FILES_ROOT holds the data folder: tasks can name the pictures that "
            "are cached for other projects. Share a folder that holds nothing else than pictures."
        )
    return True, "Are read from public addresses and Label Studio only."


def _is_here(url: str) -> bool:
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
