"""What a page of another site can have its visitor's browser send, and under which host name."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from backend.api.middleware import AllowedHosts, guard
from backend.label_studio.credentials import CREDENTIALS_FILE, Credentials, save_credentials
from backend.settings import Settings

PAYLOADS = Path(__file__).parents[2] / "payloads"
ROUTES = ("/setup", "/predict", "/webhook", "/versions", "/api/jobs")
PASSWORD = {"basic_auth_user": "admin", "basic_auth_password": "password"}


async def _answer(request: Any) -> PlainTextResponse:
    return PlainTextResponse("done")


def client(tmp_path: Path, **settings: Any) -> httpx.AsyncClient:
    paths = (*ROUTES, "/health", "/docs", "/dashboard/training/start")
    app = Starlette(routes=[Route(path, _answer, methods=["GET", "POST"]) for path in paths])
    guard(app, Settings(data=tmp_path, **settings))
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090")


@pytest.mark.anyio
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "",
    ],
)
async def test_a_form_of_another_site_cannot_send_json(
    tmp_path: Path, route: str, kind: str
) -> None:
    # given a browser that knows the password: a form is all that a foreign page can send
    headers = {"Content-Type": kind} if kind else {}
    async with client(tmp_path, **PASSWORD) as http:
        http.auth = ("admin", "password")
        answer = await http.post(route, content=b'{"project": "1.1"}', headers=headers)

    assert answer.status_code == 415
    assert "application/json" in answer.json()["detail"]


@pytest.mark.anyio
async def test_two_content_types_are_no_json(tmp_path: Path) -> None:
    headers = [("Content-Type", "application/json"), ("Content-Type", "text/plain")]
    async with client(tmp_path) as http:
        answer = await http.post("/setup", content=b"{}", headers=headers)

    assert answer.status_code == 415


@pytest.mark.anyio
@pytest.mark.parametrize(
    "kind",
    [
        # A page of any site can send it, and Python decodes it in minutes.
        "multipart/form-data; boundary=x; charset=punycode",
        "text/plain",
        "application/json",
    ],
)
async def test_the_dashboard_reads_no_other_forms_than_its_own(tmp_path: Path, kind: str) -> None:
    async with client(tmp_path) as http:
        path = "/dashboard/training/start"
        answer = await http.post(path, content=b"--x--", headers={"Content-Type": kind})
        own = await http.post(path, data={"project": "1"})

    assert answer.status_code == 415
    assert own.text == "done"


@pytest.mark.anyio
async def test_a_page_of_another_site_can_link_here_but_load_nothing(tmp_path: Path) -> None:
    foreign = {"Sec-Fetch-Site": "cross-site"}
    link = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    async with client(tmp_path) as http:
        image = await http.get("/docs", headers=foreign | {"Sec-Fetch-Dest": "image"})
        frame = await http.get("/docs", headers=foreign | link | {"Sec-Fetch-Dest": "iframe"})
        followed = await http.get("/docs", headers=foreign | link)
        health = await http.get("/health", headers=foreign)

    assert [image.status_code, frame.status_code] == [403] * 2
    assert [followed.text, health.text] == ["done"] * 2


@pytest.mark.anyio
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},  # Label Studio on this machine is another site
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none, cross-site"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:9090@evil.example"},
        {"Origin": "http://[::1"},
        [("Origin", "http://127.0.0.1:9090"), ("Origin", "https://evil.example")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
async def test_a_request_of_another_sites_page_is_refused(
    tmp_path: Path, route: str, headers: Any
) -> None:
    async with client(tmp_path) as http:
        answer = await http.post(route, json={}, headers=headers)

    assert answer.status_code == 403


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["setup", "predict_batch", "webhook_ANNOTATION_CREATED_ui"])
async def test_what_label_studio_sends_passes(tmp_path: Path, name: str) -> None:
    recorded = json.loads((PAYLOADS / f"{name}.json").read_text())
    async with client(tmp_path) as http:
        answer = await http.post(
            recorded["path"], content=json.dumps(recorded["body"]), headers=recorded["headers"]
        )

    assert answer.text == "done"


@pytest.mark.anyio
async def test_our_own_page_behind_a_proxy_passes(tmp_path: Path) -> None:
    headers = {
        "Origin": "https://labels.example",
        "X-Forwarded-Host": "labels.example",
        "Sec-Fetch-Site": "same-origin",
    }
    async with client(tmp_path) as http:
        answer = await http.post("/setup", json={}, headers=headers)

    assert answer.text == "done"


@pytest.mark.anyio
async def test_a_name_that_was_bound_to_this_address_is_no_name_of_ours(tmp_path: Path) -> None:
    # given evil.example, which now resolves to 127.0.0.1: for the browser it is one site
    headers = {"Host": "evil.example:9090", "Origin": "http://evil.example:9090"}
    async with client(tmp_path) as http:
        answer = await http.post("/setup", json={}, headers=headers)

    assert answer.status_code == 421
    assert "PHRASECLICK_ALLOWED_HOSTS" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:9090", True),
        ("[::1]:9090", True),
        ("192.168.1.5", True),
        ("localhost:9090", True),
        ("backend:9090", True),  # a name in a compose network
        ("host.docker.internal:9090", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("127.0.0.1%.evil.example", False),
        ("[evil.example]:9090", False),
        ("[fe80::1%eth0]:9090", True),
        ("[::1].evil.example", False),
        ("[::1]evil", False),
        ("evil%2eexample", False),
        ("evil.example:80@localhost", False),
        ("EVIL.example.", False),
        ("localhost.evil.example:9090", False),
    ],
)
def test_names_that_need_no_setting(tmp_path: Path, host: str, allowed: bool) -> None:
    hosts = AllowedHosts(Settings(data=tmp_path))

    assert hosts.allows(host) is allowed


def test_the_name_given_to_connect_is_ours_and_a_damaged_file_gives_none(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    save_credentials(settings, 1, Credentials("http://ls", "t", "https://clicks.example:9090"))
    assert AllowedHosts(settings).allows("clicks.example:9090")

    (tmp_path / CREDENTIALS_FILE).write_text("")
    assert not AllowedHosts(settings).allows("clicks.example:9090")


def test_chosen_names_are_the_only_ones_and_a_password_needs_none(tmp_path: Path) -> None:
    chosen = AllowedHosts(
        Settings(data=tmp_path, allowed_hosts="a.example, http://labels.example:9090/")
    )
    guarded = AllowedHosts(Settings(data=tmp_path, **PASSWORD))

    assert chosen.allows("labels.example")
    assert not chosen.allows("backend:9090")
    assert guarded.allows("anything.example")


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/health", "/docs", "/nowhere"])
async def test_no_answer_can_be_framed(tmp_path: Path, path: str) -> None:
    async with client(tmp_path) as http:
        answer = await http.get(path)

    assert answer.headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
