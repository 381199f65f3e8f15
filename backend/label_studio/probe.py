"""Checks of a running backend for connect and doctor: its answers, its webhook, one click."""

import re
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import requests
from requests.auth import HTTPBasicAuth

from backend.label_studio.controls import ImageControls
from backend.label_studio.credentials import SECRET_HEADER
from backend.settings import Settings

_TIMEOUT_S = 5.0
# Label Studio sends within its own request, or a moment later if it has a queue.
_ARRIVES_WITHIN_S = 6.0

# Label Studio passes the context on unchanged. The backend answers a probe like any click, but
# neither remembers nor counts it: a check must leave nothing behind on an annotator's task.
PROBE = {"probe": True}


class BackendProbe:
    """Requests to the backend at ``url`` from this machine. ``why``: why the last one failed."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url.rstrip("/")
        self.why = ""
        self._session = requests.Session()
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
        answer = self._get("/health" if project is None else f"/health?project={project}")
        if answer is None:
            return ""
        try:
            if not answer.ok:
                return ""
            return str(answer.json()["model_version"])
        except (requests.JSONDecodeError, KeyError, TypeError):
            self.why = "something else than PhraseClick answers there"
            return ""

    def guards_webhook(self, secret: str) -> bool | None:
        """Whether ``/webhook`` accepts this secret and no other; None if there is no answer."""
        # A GET is always refused, but only after the secret was checked.
        right = self._get("/webhook", secret)
        wrong = self._get("/webhook", secret[::-1] + "x")
        if right is None or wrong is None:
            return None
        return right.status_code != 401 and wrong.status_code == 401

    def deliveries(self, action: str) -> float | None:
        """Number of webhook events of an action stored since its start; None without an answer."""
        answer = self._get("/metrics")
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

    def _get(self, path: str, secret: str = "") -> requests.Response | None:
        headers = {SECRET_HEADER: secret} if secret else {}
        try:
            answer = self._session.get(f"{self.url}{path}", headers=headers, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            self.why = reason(error)
            return None
        self.why = "" if answer.ok else _refusal(answer)
        return answer


def reason(error: requests.RequestException) -> str:
    """Why there was no answer, in a few words."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        said = str(error)
        if "NameResolutionError" in said:
            return "its name is unknown"
        if "Connection refused" in said:
            return "nothing listens there"
        return "no connection"
    return "not a web address" if isinstance(error, ValueError) else type(error).__name__


def _refusal(answer: requests.Response) -> str:
    if answer.status_code == 401:
        return "it asks for another user and password: run this with those of the backend"
    return f"it answered {answer.status_code}"


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
            "is_positive": True,
            # Ignored: the backend measures the picture itself.
            "original_width": 100,
            "original_height": 100,
            "image_rotation": 0,
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
    if any("rle" in item.get("value", {}) for item in result):
        return True, f"a mask came back. {said}".strip()
    if said:
        return False, f"no mask. {said}"
    return False, "no mask, and the config has no text area 'status' that could say why."
