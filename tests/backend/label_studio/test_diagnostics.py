"""Connecting and disconnecting step by step, with a Label Studio that fails on request."""

from pathlib import Path
from typing import Any

import pytest

from backend.errors import LabelStudioError
from backend.label_studio.credentials import (
    Credentials,
    save_credentials,
)
from backend.label_studio.diagnostics import Diagnostics
from backend.label_studio.probe import BackendProbe, Finding
from backend.settings import Settings

CONFIG = (Path(__file__).parents[3] / "plugin_config" / "click_and_phrase.xml").read_text()
URL = "http://127.0.0.1:9090"


class Studio:
    """The calls that the steps make. ``unreachable``: what it says of the backend, if anything."""

    def __init__(self, unreachable: str = "") -> None:
        self.unreachable = unreachable
        self.about = {"title": "cats", "label_config": "<View></View>", "model_version": ""}
        self.backends: list[dict[str, Any]] = []
        self.hooks: list[dict[str, Any]] = []

    url = "http://studio:8080"

    def whoami(self) -> dict[str, Any]:
        return {"email": "ann@example.com"}

    def version(self) -> dict[str, Any]:
        return {"release": "1.23.2"}

    def project(self, project: int) -> dict[str, Any]:
        return dict(self.about)

    def patch_project(self, project: int, **fields: Any) -> None:
        self.about |= fields

    def ml_backends(self, project: int) -> list[dict[str, Any]]:
        return self.backends

    def create_ml_backend(self, project: int, url: str, **fields: Any) -> None:
        if self.unreachable:
            raise LabelStudioError(self.unreachable, answered=400)
        version = {"id": 1, "model_version": fields["title"]}
        self.backends = [
            {"url": url, "state": "CO", "is_interactive": True, **version, "title": "x"}
        ]

    def patch_ml_backend(self, backend: int, **fields: Any) -> None:
        self.backends[0] |= fields

    def delete_ml_backend(self, backend: int) -> None:
        self.backends = []

    def webhooks(self, project: int) -> list[dict[str, Any]]:
        return self.hooks

    def create_webhook(self, project: int, url: str, headers: dict[str, str]) -> None:
        on = {"is_active": True, "send_payload": True}
        self.hooks = [{"id": 2, "url": url, "headers": headers, **on}]

    def delete_webhook(self, webhook: int) -> None:
        self.hooks = []

    def tasks(self, project: int) -> list[dict[str, Any]]:
        return []


class Probe:
    """A backend that answers; ``events``: whether they arrive."""

    url = URL
    version = "shipped"
    why = ""

    def __init__(self, *, events: bool = True, secret: bool = True) -> None:
        self.events = events
        self.secret = secret

    def deliveries(self, action: str) -> float:
        return 0.0

    def arrived(self, action: str, *, more_than: float) -> bool:
        return self.events

    def guards_webhook(self, secret: str) -> bool:
        return self.secret


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path)


def steps(studio: Studio, settings: Settings, probe: Any = None, url: str = URL) -> Diagnostics:
    return Diagnostics(studio, 1, url, settings, probe or Probe())  # type: ignore[arg-type]


def bad(findings: list[Finding]) -> str:
    return " ".join(finding.sentence for finding in findings if finding.good is False)


@pytest.mark.parametrize("answer", [{}, {"title": None, "label_config": None}])
def test_a_host_that_answers_otherwise_than_label_studio_is_one_sentence(
    answer: dict[str, Any], settings: Settings
) -> None:
    studio = Studio()
    studio.about = answer

    assert "answers, but not as Label Studio" in bad(list(steps(studio, settings).check()))


def test_a_config_is_taken_back_when_the_backend_cannot_be_connected(settings: Settings) -> None:
    # given
    studio = Studio(unreachable="Can't connect to ML backend")
    # when
    findings = list(steps(studio, settings).connect(CONFIG))
    # then
    assert "does not reach" in bad(findings)
    assert not any(finding.connected for finding in findings), "no credentials are stored"
    assert studio.about["label_config"] == "<View></View>"


def test_another_service_that_answers_json_is_not_taken_for_label_studio(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for call in ("whoami", "version", "project"):
        monkeypatch.setattr(Studio, call, lambda *_: {})
    diagnostics = steps(Studio(), settings)

    for findings in (diagnostics.connect(CONFIG), diagnostics.check(), diagnostics.disconnect()):
        assert "answers, but not as Label Studio" in bad(list(findings))


def test_a_config_stays_when_the_backend_is_connected(settings: Settings) -> None:
    studio = Studio()

    findings = list(steps(studio, settings).connect(CONFIG))

    assert bad(findings) == ""
    assert sum(finding.connected for finding in findings) == 1
    assert studio.about["label_config"] == CONFIG


def test_disconnecting_removes_what_connecting_made(settings: Settings) -> None:
    # given
    studio = Studio()
    list(steps(studio, settings).connect(CONFIG))
    assert studio.backends
    assert studio.hooks
    # when
    findings = list(steps(studio, settings).disconnect())
    # then
    assert bad(findings) == ""
    assert (studio.backends, studio.hooks) == ([], [])
    assert studio.about["model_version"] == ""
    assert studio.about["label_config"] == CONFIG, "the project keeps its config"
    # when again, then it says that there is nothing
    again = list(steps(studio, settings).disconnect())
    assert "There is none" in " ".join(finding.sentence for finding in again)


@pytest.mark.parametrize("known", [True, False])
def test_a_deleted_project_can_be_forgotten(settings: Settings, known: bool) -> None:
    # given a project that Label Studio does not have, connected here or not
    class Empty(Studio):
        def project(self, project: int) -> dict[str, Any]:
            raise LabelStudioError("Not found.", answered=404)

    if known:
        save_credentials(settings, 1, Credentials("http://ls", "token", URL))
    # when, then only what was connected can be forgotten
    said = bad(list(steps(Empty(), settings).check()))
    assert "There is no project 1" in said
    assert ("disconnect --project 1 --here-only" in said) == known


@pytest.mark.parametrize(
    ("url", "probe", "cause", "usual"),
    [
        (URL, Probe(events=False), "SSRF_PROTECTION_ENABLED=false", True),
        ("http://8.8.8.8:9090", Probe(events=False), "is not a private address", False),
        (URL, Probe(events=False, secret=False), "another webhook secret", False),
    ],
)
def test_an_event_that_does_not_arrive_names_the_cause_that_was_seen(
    settings: Settings, url: str, probe: Probe, cause: str, usual: bool
) -> None:
    findings = list(steps(Studio(), settings, probe, url).connect(CONFIG))

    (lost,) = (finding for finding in findings if finding.about == "events")
    assert cause in lost.sentence
    assert ("SSRF_PROTECTION_ENABLED" in lost.sentence) == usual


def test_a_backend_that_refuses_its_setup_was_reached(settings: Settings) -> None:
    # given a backend in an error state, with the answer that Label Studio got
    studio = Studio()
    list(steps(studio, settings).connect(CONFIG))
    studio.backends[0] |= {"state": "ER", "error_message": "400 Client Error: Bad Request"}
    # when
    findings = list(steps(studio, settings).check())
    # then
    assert "400 Client Error" in bad(findings)
    assert "--backend-url" not in bad(findings), "the address is right"


def test_a_password_that_label_studio_cannot_send_is_refused(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, basic_auth_user="ann", basic_auth_password="密碼")

    findings = list(steps(Studio(), settings).connect(CONFIG))

    assert "outside of Latin-1" in bad(findings)


def test_a_probe_says_why_it_got_no_answer() -> None:
    probe = BackendProbe(
        "http://127.0.0.1:9", Settings(basic_auth_user="a", basic_auth_password="密")
    )

    assert probe.ask_version() == ""
    assert probe.why == "its host cannot be reached: connection refused"
