"""Label Studio's tokens: how each kind is sent, where to, and what a refusal says."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from backend.errors import TokenError
from backend.label_studio.client import LabelStudio
from tests.backend.label_studio.conftest import LEGACY, PERSONAL, Host, jwt


def test_a_legacy_token_is_sent_as_such(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})

    assert LabelStudio(host.url, LEGACY).project(3) == {"id": 3}

    assert host.headers[0]["Authorization"] == f"Token {LEGACY}"


@pytest.mark.parametrize(
    ("token", "words", "answered"),
    [
        (LEGACY, "legacy tokens turned off. Create a personal access token", 401),
        (PERSONAL, "revoked", 401),
        (jwt(token_type="access"), "lives five minutes only", None),
        ("", "none is known", 401),
    ],
)
def test_a_token_that_is_refused_or_missing_is_explained(
    token: str, words: str, answered: int | None, host: Host
) -> None:
    # given a Label Studio that takes none of them
    host.legacy = False
    host.personal.clear()

    with pytest.raises(TokenError, match=words) as caught:
        LabelStudio(host.url, token).project(3)

    assert "PHRASECLICK_LABEL_STUDIO_TOKEN" in str(caught.value)
    assert not token or token not in str(caught.value)
    assert caught.value.answered == answered
    assert bool(host.calls) == (answered is not None), "an access token is not sent at all"


def test_a_wrong_legacy_token_is_not_said_to_be_of_a_kind_that_is_turned_off(host: Host) -> None:
    # given a Label Studio that takes legacy tokens, when another one is sent
    with pytest.raises(TokenError, match="it is wrong, was replaced"):
        LabelStudio(host.url, "0" * 40).project(3)


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


def test_threads_share_one_exchange(host: Host) -> None:
    host.give("/api/projects/3/", {"id": 3})
    client = LabelStudio(host.url, PERSONAL)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(client.project, [3] * 8))

    assert host.refreshed == 1


def test_threads_that_waited_for_an_exchange_share_its_failure(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a host that refuses the token once all threads wait for the exchange
    client = LabelStudio(host.url, PERSONAL)
    waiting = threading.Barrier(4, timeout=20)
    refresh = client._refresh

    def slow() -> tuple[str, float]:
        waiting.wait()
        time.sleep(0.2)
        return refresh()

    monkeypatch.setattr(client, "_refresh", slow)
    host.personal.clear()

    def ask(number: int) -> None:
        if number:
            waiting.wait()
        with pytest.raises(TokenError, match="revoked"):
            client.project(3)

    # when
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(4)))
    # then
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


@pytest.mark.parametrize("token", ["abc\ndef", "abc def", "äbc", "abc\x7f"])
def test_a_token_that_no_header_can_carry_is_refused(host: Host, token: str) -> None:
    with pytest.raises(TokenError, match="line breaks"):
        LabelStudio(host.url, token)
