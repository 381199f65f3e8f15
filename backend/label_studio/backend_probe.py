"""The running backend as this machine sees it, for connect and doctor."""

import re
import time
from functools import cached_property

import requests

from backend.label_studio.webhook_secret import SECRET_HEADER
from backend.settings import Settings

_TIMEOUT_S = 5.0
# Label Studio sends within its own request, or a moment later where it has a queue.
_ARRIVES_WITHIN_S = 6.0


class BackendSeen:
    """What the backend at ``url`` answers to this machine."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url.rstrip("/")
        self.why = ""
        self._session = requests.Session()
        password = settings.basic_auth_password.get_secret_value()
        if settings.basic_auth_user and password:
            self._session.auth = (settings.basic_auth_user, password)

    @cached_property
    def version(self) -> str:
        """The model version it served when first asked; '' where it did not answer (``why``)."""
        return self.ask_version()

    def ask_version(self, project: int | None = None) -> str:
        """The model version it serves now, to a project or to those without one of their own; ''
        where it does not answer (``why`` says more)."""
        answer = self._get("/health" if project is None else f"/health?project={project}")
        if answer is None:
            return ""
        try:
            body = answer.json()
            return str(body["model_version"]) if answer.ok else ""
        except (requests.JSONDecodeError, KeyError, TypeError):
            self.why = "what answers there is no PhraseClick backend"
            return ""

    def guards_webhook(self, secret: str) -> bool | None:
        """Whether ``/webhook`` takes this secret and no other; None: not to be seen from here."""
        # A GET is refused in any case, yet only after the secret was looked at.
        right = self._get("/webhook", secret)
        wrong = self._get("/webhook", secret[::-1] + "x")
        if right is None or wrong is None:
            return None
        return right.status_code != 401 and wrong.status_code == 401

    def deliveries(self, action: str) -> float | None:
        """How many webhook events of an action it has stored since its start; None: not seen."""
        answer = self._get("/metrics")
        if answer is None or not answer.ok:
            return None
        pattern = rf'^phraseclick_deliveries_total{{action="{re.escape(action)}"}} (\S+)$'
        found = re.search(pattern, answer.text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def arrived(self, action: str, *, more_than: float) -> bool:
        """Whether more events of an action come to be stored, within some seconds."""
        deadline = time.monotonic() + _ARRIVES_WITHIN_S
        while time.monotonic() < deadline:
            if (self.deliveries(action) or 0.0) > more_than:
                return True
            time.sleep(0.1)
        return False

    def _get(self, path: str, secret: str = "") -> requests.Response | None:
        headers = {SECRET_HEADER: secret} if secret else {}
        try:
            return self._session.get(f"{self.url}{path}", headers=headers, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            self.why = (
                "no answer in time" if isinstance(error, requests.Timeout) else "no connection"
            )
            return None
