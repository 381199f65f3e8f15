"""Label Studio's API against a real server that treats tokens as Label Studio 1.23 does."""

import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from backend.errors import LabelStudioError, TokenError
from backend.label_studio.client import LabelStudio
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings

LEGACY = "0123456789abcdef0123456789abcdef01234567"

Reply = tuple[int, Any]


def jwt(**claims: Any) -> str:
    """A token that says ``claims`` of itself."""

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


PERSONAL = jwt(token_type="refresh", exp=9999999999, iat=0, user_id="1")


class Host:
    """Label Studio's doors: legacy tokens work where ``legacy``, access tokens while they live."""

    def __init__(self) -> None:
        self.url = ""
        self.legacy = True
        self.personal = {PERSONAL}
        self.life = 300
        self.living: set[str] = set()
        self.refreshed = 0
        self.calls: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.pages: dict[str, Callable[[str, dict[str, list[str]], Any], Reply]] = {}

    def give(self, path: str, body: Any, status: int = 200) -> None:
        self.pages[path] = lambda method, query, sent: (status, body)

    def answer(self, method: str, target: str, headers: dict[str, str], body: Any) -> Reply:
        parts = urlsplit(target)
        self.calls.append((method, target, body))
        self.headers.append(headers)
        if parts.path == "/api/token/refresh/":
            self.refreshed += 1
            if body["refresh"] not in self.personal:
                return 401, {"detail": "Token is blacklisted"}
            access = jwt(token_type="access", iat=1000, exp=1000 + self.life, n=self.refreshed)
            self.living.add(access)
            return 200, {"access": access}
        kind, _, token = headers.get("Authorization", "").partition(" ")
        known = (kind == "Token" and self.legacy and token == LEGACY) or (
            kind == "Bearer" and token in self.living
        )
        if not known:
            return 401, {"detail": "Authentication token no longer valid"}
        if parts.path not in self.pages:
            return 404, {"detail": "Not found."}
        return self.pages[parts.path](method, parse_qs(parts.query), body)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)
            is_json = self.headers.get("Content-Type") == "application/json"
            status, body = host.answer(
                self.command,
                self.path,
                dict(self.headers),
                json.loads(sent) if is_json and sent else sent,
            )
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", content.decode())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    host.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield host
    server.shutdown()
    server.server_close()


# -- tokens


def test_a_legacy_token_is_sent_as_such(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})

    assert LabelStudio(host.url, LEGACY).project(3) == {"id": 3}

    assert host.headers[0]["Authorization"] == f"Token {LEGACY}"


def test_a_refused_legacy_token_is_explained(host: Host) -> None:
    host.legacy = False

    with pytest.raises(TokenError) as caught:
        LabelStudio(host.url, LEGACY).project(3)

    assert "personal access token" in str(caught.value)
    assert "PHRASECLICK_LABEL_STUDIO_TOKEN" in str(caught.value)
    assert LEGACY not in str(caught.value)
    assert caught.value.answered == 401


def test_a_missing_token_is_explained(host: Host) -> None:
    with pytest.raises(TokenError, match="none is known"):
        LabelStudio(host.url, "").project(3)


def test_a_personal_token_is_exchanged_once_for_many_calls(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, f" {PERSONAL}\n")

    for _ in range(3):
        client.project(3)

    assert host.refreshed == 1
    assert host.headers[-1]["Authorization"].startswith("Bearer ")
    assert PERSONAL not in host.headers[-1]["Authorization"]


def test_an_access_token_is_renewed_before_it_expires(host: Host) -> None:
    # given access tokens that live for 31 s by the server's clock, which is far from this one's
    host.life = 31
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, PERSONAL)

    client.project(3)
    client.project(3)
    assert host.refreshed == 1
    host.life = 29
    client.renew()
    client.project(3)
    client.project(3)

    assert host.refreshed == 3


def test_an_access_token_that_expired_early_is_renewed_once(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, PERSONAL)
    client.project(3)

    host.living.clear()

    assert client.project(3) == {"id": 3}
    assert host.refreshed == 2


def test_a_host_that_refuses_every_access_token_is_not_asked_for_ever(host: Host) -> None:
    # given an organization that turned personal tokens off: they are made, and refused
    client = LabelStudio(host.url, PERSONAL)
    host.give("/api/projects/3/", {"id": 3})
    host.living = type("Never", (set,), {"add": lambda self, item: None})()

    with pytest.raises(TokenError):
        client.project(3)

    assert len(host.calls) == 4  # two exchanges, two tries


def test_a_revoked_personal_token_is_explained(host: Host) -> None:
    host.personal.clear()

    with pytest.raises(TokenError, match="revoked") as caught:
        LabelStudio(host.url, PERSONAL).project(3)

    assert PERSONAL not in str(caught.value)


def test_an_access_token_given_as_the_token_is_recognised(host: Host) -> None:
    with pytest.raises(TokenError, match="lives five minutes only"):
        LabelStudio(host.url, jwt(token_type="access")).project(3)

    assert host.calls == []


def test_threads_share_one_exchange(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, PERSONAL)
    threads = [threading.Thread(target=client.project, args=(3,)) for _ in range(8)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert host.refreshed == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9999/a",
        "https://127.0.0.1:8080/a",
        "http://localhost:8080/a",
        "http://127.0.0.1.evil.example:8080/a",
        "http://127.0.0.1:8080@evil.example/a",
        "http://evil.example\\@127.0.0.1:8080/a",
        "http://evil.example#@127.0.0.1:8080/a",
        "//127.0.0.1:8080/a",
        "ftp://127.0.0.1:8080/a",
        "/a",
        "",
    ],
)
def test_the_token_is_for_its_own_host_alone(url: str) -> None:
    assert LabelStudio("http://127.0.0.1:8080", LEGACY).authorization_for(url) == {}


@pytest.mark.parametrize(
    ("own", "url"),
    [
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/a?b#c"),
        ("127.0.0.1:8080", "HTTP://127.0.0.1:8080/a"),
        ("https://Studio.example", "https://studio.EXAMPLE:443/a"),
        ("http://studio.example:80/below", "http://studio.example/a"),
        ("http://[::1]:8080", "http://[::1]:8080/a"),
    ],
)
def test_the_token_is_for_every_spelling_of_its_host(own: str, url: str) -> None:
    assert LabelStudio(own, LEGACY).authorization_for(url) == {"Authorization": f"Token {LEGACY}"}


def test_a_netrc_does_not_replace_the_token(
    host: Host, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    host.give("/api/projects/3/", {"id": 3})

    LabelStudio(host.url, LEGACY).project(3)

    assert host.headers[0]["Authorization"] == f"Token {LEGACY}"


@pytest.mark.parametrize("token", [LEGACY, PERSONAL])
def test_nothing_secret_is_printed_or_logged(
    token: str, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, token)

    client.project(3)

    access = next(iter(host.living), token)
    for text in (repr(client), str(client), caplog.text):
        assert token not in text
        assert access not in text


# -- calls


def test_a_refusal_keeps_label_studios_reason(host: Host) -> None:
    refusal = {"validation_errors": {"url": ["Can't connect to a private address."]}}
    host.give("/api/ml/", refusal, 403)

    with pytest.raises(LabelStudioError, match=r"403 to POST /api/ml/.*private address") as caught:
        LabelStudio(host.url, LEGACY).create_ml_backend(1, "http://10.0.0.1", "PhraseClick")

    assert caught.value.answered == 403


@pytest.mark.parametrize(
    ("method", "tries"), [("GET", 3), ("PATCH", 3), ("POST", 1), ("DELETE", 1)]
)
def test_only_what_may_be_repeated_is_repeated(method: str, tries: int, host: Host) -> None:
    # given a Label Studio that is starting behind its proxy
    host.give("/api/x", {}, 503)

    with pytest.raises(LabelStudioError) as caught:
        LabelStudio(host.url, LEGACY).call(method, "/api/x")

    assert len(host.calls) == tries
    assert caught.value.answered == 503


def test_a_repeated_call_may_succeed(host: Host) -> None:
    replies: Iterator[Reply] = iter([(502, b""), (200, {"id": 3})])
    host.pages["/api/projects/3/"] = lambda method, query, sent: next(replies)

    assert LabelStudio(host.url, LEGACY).project(3) == {"id": 3}


def test_an_unreachable_host_is_reported(host: Host) -> None:
    with pytest.raises(LabelStudioError, match="could not be reached"):
        LabelStudio("http://127.0.0.1:1", LEGACY).post("/api/x")


def test_a_host_that_does_not_answer_in_time_is_reported(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.label_studio.host._TIMEOUT_S", (1.0, 0.05))
    answered = threading.Event()
    host.pages["/api/x"] = lambda method, query, sent: (answered.wait(5), (200, {}))[1]

    try:
        with pytest.raises(LabelStudioError, match="did not answer in time"):
            LabelStudio(host.url, LEGACY).get("/api/x")
    finally:
        answered.set()


@pytest.mark.parametrize("token", ["abc\ndef", "abc def", "äbc", "abc\x7f"])
def test_a_token_that_no_header_can_carry_is_refused(host: Host, token: str) -> None:
    with pytest.raises(TokenError, match="line breaks"):
        LabelStudio(host.url, token)


def test_a_redirect_is_reported_and_not_followed(host: Host) -> None:
    # given a proxy that sends http callers to https: a followed POST would turn into a GET
    host.give("/api/projects/3/", b"https://studio.example/api/projects/3/", 301)

    with pytest.raises(LabelStudioError, match=r"https://studio\.example:443"):
        LabelStudio(host.url, LEGACY).project(3)

    assert len(host.calls) == 1


def test_a_redirect_to_the_log_in_page_means_an_invalid_token(host: Host) -> None:
    host.give("/api/projects/3/", b"/user/login/?next=/api/projects/3/", 302)

    with pytest.raises(TokenError):
        LabelStudio(host.url, LEGACY).project(3)


def test_a_page_instead_of_data_is_reported(host: Host) -> None:
    host.give("/api/projects/3/", b"<html>hello</html>")

    with pytest.raises(LabelStudioError, match="a page instead of data"):
        LabelStudio(host.url, LEGACY).project(3)


@pytest.mark.parametrize(
    "url", ["", "http://", "ftp://host", "http://user:pass@host", "http://[::1"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(LabelStudioError, match="PHRASECLICK_LABEL_STUDIO_URL"):
        LabelStudio(url, LEGACY)


@pytest.mark.parametrize(
    ("path", "items", "total"),
    [("/api/projects/", "results", "count"), ("/api/tasks", "tasks", "total")],
)
def test_lists_in_pages_are_read_to_their_end(
    path: str, items: str, total: str, host: Host
) -> None:
    everything = [{"id": number} for number in range(250)]

    def page(method: str, query: dict[str, list[str]], sent: Any) -> Reply:
        number, size = int(query["page"][0]), int(query["page_size"][0])
        part = everything[(number - 1) * size : number * size]
        # Label Studio answers 404 past the end.
        return (200, {items: part, total: 250}) if part else (404, {"detail": "Invalid page."})

    host.pages[path] = page
    client = LabelStudio(host.url, LEGACY)

    entries = client.projects() if items == "results" else list(client.tasks(1, fields="all"))

    assert entries == everything


def test_lists_without_pages(host: Host) -> None:
    host.give("/api/ml/", [{"id": 1}, {"id": 2}])

    assert LabelStudio(host.url, LEGACY).ml_backends(1) == [{"id": 1}, {"id": 2}]


def test_a_webhook_gets_every_event_with_payload_and_its_secret_header(host: Host) -> None:
    host.pages["/api/webhooks/"] = lambda method, query, sent: (201, {"id": 5, **sent})
    host.pages["/api/webhooks/5/"] = lambda method, query, sent: (200, {"id": 5, **sent})
    client = LabelStudio(host.url, LEGACY)

    made = client.create_webhook(1, "http://backend/webhook", {"X-PhraseClick-Secret": "s"})
    client.update_webhook(5, "http://backend/webhook", {"X-PhraseClick-Secret": "t"})

    assert made["id"] == 5
    (_, _, first), (_, _, second) = host.calls
    assert first["project"] == 1
    assert first["send_payload"]
    assert first["send_for_all_actions"]
    assert first["is_active"]
    assert first["headers"] == {"X-PhraseClick-Secret": "s"}
    assert second["headers"] == {"X-PhraseClick-Secret": "t"}


def test_a_file_is_uploaded_as_a_task(host: Host) -> None:
    host.give("/api/projects/1/import", {"task_ids": [4, 5]}, 201)
    client = LabelStudio(host.url, LEGACY)

    assert client.upload(1, "cat.jpg", b"\xff\xd8picture") == [4, 5]

    ((_, target, body),) = host.calls
    assert "return_task_ids=true" in target
    assert b"\xff\xd8picture" in body
    assert b'filename="cat.jpg"' in body


def test_an_interactive_call_has_the_shape_that_the_page_sends(host: Host) -> None:
    host.give("/api/ml/2/interactive-annotating", {"data": {"result": []}})

    LabelStudio(host.url, LEGACY).interactive_annotating(2, 7, {"result": [{"id": "a"}]})

    assert host.calls[0][2] == {"task": 7, "context": {"result": [{"id": "a"}]}}


# -- which Label Studio


def hosts(announced: tuple[str, str] | None = None, **settings: Any) -> LabelStudioHosts:
    # Distinct from anything in the environment of the person who runs this.
    values = {"label_studio_url": "", "label_studio_token": SecretStr(""), **settings}
    return LabelStudioHosts(Settings(**values), lambda project: announced)


def test_a_project_lives_where_setup_said() -> None:
    client = hosts(("http://studio:8080", LEGACY)).of(1)

    assert client.url == "http://studio:8080"
    assert client.authorization_for("http://studio:8080/a") == {"Authorization": f"Token {LEGACY}"}


def test_the_settings_come_before_what_setup_said() -> None:
    client = hosts(
        ("http://localhost:8080", "announced"),
        label_studio_url="http://studio:8080",
        label_studio_token=SecretStr(LEGACY),
    ).of(1)

    assert client.authorization_for("http://studio:8080/a") == {"Authorization": f"Token {LEGACY}"}
    assert client.authorization_for("http://localhost:8080/a") == {}
    assert client.place("http://localhost:8080/data/x?d=1") == "http://studio:8080/data/x?d=1"


def test_the_token_of_the_settings_goes_to_no_host_that_a_request_announced() -> None:
    client = hosts(("http://evil.example", "x"), label_studio_token=SecretStr(LEGACY)).of(1)

    assert LEGACY not in str(client.authorization_for("http://evil.example/a"))


def test_an_unknown_label_studio_is_explained() -> None:
    with pytest.raises(LabelStudioError, match="PHRASECLICK_LABEL_STUDIO_URL"):
        hosts().of(1)


def test_projects_of_one_host_share_a_client() -> None:
    both = hosts(("http://studio:8080", LEGACY))

    assert both.of(1) is both.of(2)
