"""Checks, step by step, whether a project of Label Studio and this backend work together.

``phraseclick connect`` runs the steps and repairs what it can; ``phraseclick doctor`` only checks.
Label Studio hides most failures (a webhook that it did not create, an event that it could not send,
a backend that answered 500), so each step ends with a sentence.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from backend.errors import LabelConfigError, LabelStudioError
from backend.label_studio.client import LabelStudio
from backend.label_studio.config import parse_config
from backend.label_studio.controls import LabelConfig
from backend.label_studio.credentials import (
    SECRET_HEADER,
    backend_login,
    is_sendable,
    load_credentials,
    make_webhook_secret,
    webhook_secret,
)
from backend.label_studio.payloads import Project
from backend.label_studio.probe import PROBE, BackendProbe, Finding, read_answer, trial_prompt
from backend.label_studio.ssrf import is_private
from backend.settings import Settings

PRIVATE_ADDRESS = (
    "Label Studio refuses the private address {url} (403). Start Label Studio with both variables "
    "ML_BLOCK_LOCAL_IP=false and SSRF_PROTECTION_ENABLED=false: with the first alone the backend "
    "is connected without its webhook, and no label ever arrives."
)
_NOT_SENDABLE = (
    "Label Studio cannot send the backend's user and password: they contain characters outside of "
    "Latin-1. Choose others."
)
_NOT_AS_IT = "{} answers, but not as Label Studio. Check its address."
_RUN_CONNECT = "Run phraseclick connect for this project again."


@dataclass
class Diagnostics:
    """The steps for one project."""

    label_studio: LabelStudio
    number: int  # of the project
    url: str  # of this backend, as Label Studio reaches it
    settings: Settings
    probe: BackendProbe
    _project: dict[str, Any] = field(default_factory=dict)
    _config: LabelConfig | None = None
    _backend: dict[str, Any] = field(default_factory=dict)
    _replaced_config: str | None = None

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")

    @property
    def created(self) -> str:
        """Second half of the project's key, once the project was read; '' before."""
        return Project.read(self._project).created if self._project else ""

    def connect(self, new_config: str | None = None) -> Iterator[Finding]:
        """Connect the project, then check it. Stops if the following steps cannot work.

        Args:
            new_config: labeling config to write first; None keeps the project's own. It is taken
                back if the backend cannot be connected.
        """
        connected = False
        for finding in self._steps(
            self._check_token,
            self._check_project,
            *([lambda: self._write_config(new_config)] if new_config is not None else []),
            self._check_config,
            self._check_running,
            self._register,
            self._set_webhook,
            self._set_model_version,
            self._check_arrival,
            self._check_click,
        ):
            connected |= finding.connected
            yield finding
        if not connected:
            yield from self._steps(self._restore_config)

    def disconnect(self) -> Iterator[Finding]:
        """Remove the webhook and the backend from the project; its labels stay."""
        yield from self._steps(
            self._check_token, self._check_project, self._remove_webhooks, self._remove_backend
        )

    def check(self) -> Iterator[Finding]:
        """Check a connected project without changing anything."""
        yield from self._steps(
            self._check_token,
            self._check_project,
            self._check_config,
            self._check_running,
            self._check_registered,
            self._check_webhook,
            self._check_model_version,
            self._check_arrival,
            self._check_click,
        )

    def _steps(self, *steps: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
        for step in steps:
            try:
                yield from step()
            except _StopError as stop:
                yield stop.finding
                return
            except LabelStudioError as error:
                yield Finding("Label Studio", False, str(error))
                return
            except (LookupError, TypeError, AttributeError):  # of a field of its answers
                yield Finding("Label Studio", False, _NOT_AS_IT.format(self.label_studio.url))
                return

    # -- Label Studio and the project

    def _check_token(self) -> Iterator[Finding]:
        who = self.label_studio.whoami().get("email")
        if who is None:
            raise _StopError("token", _NOT_AS_IT.format(self.label_studio.url))
        release = self.label_studio.version().get("release", "")
        yield Finding("token", True, f"Label Studio {release} knows you as {who}.")

    def _check_project(self) -> Iterator[Finding]:
        try:
            self._project = self.label_studio.project(self.number)
        except LabelStudioError as error:
            if error.answered in (403, 404):
                sentence = f"There is no project {self.number} that this token can open."
                if self.number in load_credentials(self.settings):
                    forget = f"phraseclick disconnect --project {self.number} --here-only"
                    sentence += f" If it was deleted: {forget}"
                raise _StopError("project", sentence) from error
            raise
        yield Finding("project", True, f"Project {self.number}: {self._project['title']}")

    def _restore_config(self) -> Iterator[Finding]:
        if self._replaced_config is None:
            return
        self.label_studio.patch_project(self.number, label_config=self._replaced_config)
        yield Finding("labeling config", None, "The project has its former one again.")

    def _write_config(self, xml: str) -> Iterator[Finding]:
        before = self._project.get("label_config", "")
        try:
            self.label_studio.patch_project(self.number, label_config=xml)
        except LabelStudioError as error:
            if error.answered != 400:
                raise
            sentence = f"Label Studio did not accept the labeling config. {error}"
            raise _StopError("labeling config", sentence) from error
        self._replaced_config = before
        self._project = self.label_studio.project(self.number)
        yield Finding("labeling config", True, "Written to the project.")

    def _check_config(self) -> Iterator[Finding]:
        try:
            self._config = parse_config(
                self._project.get("label_config", ""), **self.settings.refine_labels
            )
        except LabelConfigError as error:
            sentence = f"{error} phraseclick connect --write-config writes a ready config."
            raise _StopError("labeling config", sentence) from error
        masks = ", ".join(brush.name for image in self._config.images for brush in image.brushes)
        yield Finding("labeling config", True, f"Masks go to: {masks}.")
        for warning in self._config.warnings:
            yield Finding("labeling config", None, warning)

    # -- the backend, as seen from here and from Label Studio

    def _check_running(self) -> Iterator[Finding]:
        if self.probe.version:
            sentence = f"Answers at {self.probe.url}, model {self.probe.version}."
            yield Finding("backend", True, sentence)
        else:
            yield Finding(
                "backend",
                None,
                f"Does not answer this machine at {self.probe.url} ({self.probe.why}). "
                "If Label Studio does not reach it either, start it with make run.",
            )

    def _register(self) -> Iterator[Finding]:
        if not is_sendable(self.settings):
            raise _StopError("connection", _NOT_SENDABLE)
        # Label Studio accepts a project's model version only if it is a backend's title, and serves
        # uncertain tasks first only if it equals the version of the predictions.
        title = self.probe.version or "PhraseClick"
        known = self._registered()
        try:
            if known is None:
                login = backend_login(self.settings)
                self.label_studio.create_ml_backend(self.number, self.url, title=title, **login)
            else:
                self._patch_backend(known, title=title, is_interactive=True)
        except LabelStudioError as error:
            raise _StopError("connection", self._refusal(error)) from error
        yield from self._check_registered()

    def _check_registered(self) -> Iterator[Finding]:
        backend = self._registered()
        if backend is None:
            sentence = f"No backend at {self.url} is connected to this project. {_RUN_CONNECT}"
            raise _StopError("connection", sentence)
        if backend["state"] != "CO":
            why = backend.get("error_message") or backend.get("readable_state") or "no answer"
            sentence = f"Label Studio cannot use the backend at {self.url}: {why}. "
            # With an HTTP status, it reached the backend, which refused.
            reached = "Client Error" in why or "Server Error" in why
            raise _StopError("connection", sentence + ("" if reached else self._unreachable()))
        if not backend["is_interactive"]:
            sentence = f"The backend is connected, but not for interactive use. {_RUN_CONNECT}"
            raise _StopError("connection", sentence)
        self._backend = backend
        yield Finding("connection", True, f"Label Studio reaches the backend at {self.url}.")

    def _patch_backend(self, backend: dict[str, Any], **fields: Any) -> None:
        login = backend_login(self.settings)
        self.label_studio.patch_ml_backend(
            backend["id"], url=self.url, project=self.number, **fields, **login
        )

    def _registered(self) -> dict[str, Any] | None:
        backends = self.label_studio.ml_backends(self.number)
        return next((b for b in backends if b["url"].rstrip("/") == self.url), None)

    def _refusal(self, error: LabelStudioError) -> str:
        said = str(error)
        if error.answered == 403 and "permission" not in said and is_private(self.url):
            return PRIVATE_ADDRESS.format(url=self.url)
        if "authentication parameters" in said:
            return (
                "The backend asks for a user and a password. Run this command with the same "
                "PHRASECLICK_BASIC_AUTH_USER and PHRASECLICK_BASIC_AUTH_PASSWORD as the backend."
            )
        if "Can't connect" in said:
            return f"Label Studio does not reach {self.url}. {self._unreachable()}"
        return said

    def _unreachable(self) -> str:
        if not self.probe.version:
            return (
                f"This machine does not reach it either ({self.probe.why}): is the backend "
                "running (make run)?"
            )
        return (
            "This machine does: give --backend-url as Label Studio sees it (in Docker "
            "http://host.docker.internal:9090), and start the backend with --host 0.0.0.0 where "
            "Label Studio is on another machine or in a container."
        )

    # -- model version

    def _set_model_version(self) -> Iterator[Finding]:
        version = self._backend.get("model_version")
        if version and self._backend["title"] != version:
            # The project has its own champion, or this machine could not reach the backend.
            self._patch_backend(self._backend, title=version)
        if version:
            self.label_studio.patch_project(self.number, model_version=version)
        self._project = self.label_studio.project(self.number)
        yield from self._check_model_version()

    def _check_model_version(self) -> Iterator[Finding]:
        served, set_ = self._backend.get("model_version"), self._project.get("model_version")
        if served and served == set_:
            yield Finding("model version", True, f"The project uses {served}.")
            return
        sentence = f"The backend serves {served or 'no version'}, the project uses {set_ or 'none'}"
        said = f"{sentence}: the tasks' order by uncertainty is wrong. {_RUN_CONNECT}"
        yield Finding("model version", False, said)

    # -- webhook

    def _set_webhook(self) -> Iterator[Finding]:
        headers = {SECRET_HEADER: make_webhook_secret(self.settings)}
        known = self._webhooks()
        try:
            if known:
                self.label_studio.update_webhook(known[0]["id"], self._hook_url, headers)
            else:
                self.label_studio.create_webhook(self.number, self._hook_url, headers)
        except LabelStudioError as error:
            if error.answered != 403:
                raise
            yield Finding("webhook", False, self._refusal(error))
            return
        yield from self._check_webhook()

    def _check_webhook(self) -> Iterator[Finding]:
        known = self._webhooks()
        secret = webhook_secret(self.settings)
        good: bool | None = False
        advice = _RUN_CONNECT
        if not known:
            sentence = "The project has no webhook to the backend, so no label ever arrives."
        elif not all(h["is_active"] and h["send_payload"] for h in known):
            sentence = "The webhook is switched off or sends no payload."
        elif secret and any(h["headers"].get(SECRET_HEADER) != secret for h in known):
            sentence = "The webhook does not carry this data folder's secret."
        elif not secret:
            good, sentence = None, "It works, but carries no secret: anyone can send events."
        elif self.probe.guards_webhook(secret) is False:
            sentence = "The backend asks for another secret or for none: it runs with another data"
            advice = (
                "folder. Run this command with --data as the backend has it, or set "
                "PHRASECLICK_WEBHOOK_SECRET for both."
            )
        else:
            good, sentence, advice = True, f"Sends every event to {self._hook_url},", "with secret."
        yield Finding("webhook", good, f"{sentence} {advice}")

    def _check_arrival(self) -> Iterator[Finding]:
        before = self.probe.deliveries("PROJECT_UPDATED")
        if before is None:
            sentence = f"This machine cannot see whether events arrive ({self.probe.why})."
            yield Finding("events", None, sentence)
            return
        if not any(hook["is_active"] for hook in self._webhooks()):
            return  # nothing would be sent, as the step before said
        # Setting the same title changes nothing, but Label Studio sends the event.
        self.label_studio.patch_project(self.number, title=self._project["title"])
        if self.probe.arrived("PROJECT_UPDATED", more_than=before):
            yield Finding("events", True, "An event sent by Label Studio arrived.")
        else:
            sentence = (
                "Label Studio sent an event and it did not arrive, so labels will not either."
            )
            yield Finding("events", False, f"{sentence} {self._why_lost()}")

    def _why_lost(self) -> str:
        """Why an event did not arrive, as far as it shows."""
        secret = webhook_secret(self.settings)
        if secret and self.probe.guards_webhook(secret) is False:
            return "The backend refused it: it expects another webhook secret."
        if is_private(self.url) is False:
            return (
                f"{self.url} is not a private address, so Label Studio does not refuse it. It may "
                "send later if it has a queue: run phraseclick doctor again. Its log shows "
                "webhooks that failed."
            )
        return PRIVATE_ADDRESS.format(url=self.url)

    def _remove_webhooks(self) -> Iterator[Finding]:
        known = self._webhooks()
        for webhook in known:
            self.label_studio.delete_webhook(webhook["id"])
        yield Finding("webhook", True, "Removed." if known else "There is none to this backend.")

    def _remove_backend(self) -> Iterator[Finding]:
        backend = self._registered()
        if backend is None:
            sentence = f"No backend at {self.url} is connected to this project."
            yield Finding("connection", True, sentence)
            return
        self.label_studio.delete_ml_backend(backend["id"])
        if self._project.get("model_version") in (backend["title"], backend.get("model_version")):
            self.label_studio.patch_project(self.number, model_version="")
        yield Finding("connection", True, f"The backend at {self.url} is removed.")

    @property
    def _hook_url(self) -> str:
        return f"{self.url}/webhook"

    def _webhooks(self) -> list[dict[str, Any]]:
        return [h for h in self.label_studio.webhooks(self.number) if h["url"] == self._hook_url]

    # -- one click from end to end

    def _check_click(self) -> Iterator[Finding]:
        assert self._config is not None, "the config was read in an earlier step"
        task = next(iter(self.label_studio.tasks(self.number)), None)
        prompt = next((p for p in map(trial_prompt, self._config.images) if p), None)
        if task is None or prompt is None:
            lacks = "task" if task is None else "smart key point and no phrase"
            yield Finding("click", None, f"The project has no {lacks} to try the model on.")
            return
        answer = self.label_studio.interactive_annotating(
            self._backend["id"], task["id"], {"result": [prompt], **PROBE}
        )
        gave_mask, sentence = read_answer(answer)
        yield Finding("click", gave_mask, f"Tried on task {task['id']}: {sentence}")


class _StopError(Exception):
    """A step failed, and the following ones cannot work."""

    def __init__(self, about: str, sentence: str) -> None:
        super().__init__(sentence)
        self.finding = Finding(about, False, sentence)
