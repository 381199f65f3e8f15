"""Static files come from memory, as browsers ask for them."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from backend.api.static_files import StaticFiles

LONG = b"body { color: red }\n" * 10_000


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    (tmp_path / "page.css").write_bytes(LONG)
    (tmp_path / "inner").mkdir()
    (tmp_path.parent / "secret.txt").write_text("secret")
    return TestClient(Starlette(routes=[Mount("/static", StaticFiles(tmp_path))]))


def test_a_file_comes_whole_with_its_type_and_once(client: TestClient) -> None:
    # when
    answer = client.get("/static/page.css")
    # then
    assert answer.status_code == 200
    assert answer.content == LONG
    assert answer.headers["content-type"].startswith("text/css")
    assert answer.headers["content-length"] == str(len(LONG))
    # and a browser that has it already gets no second copy
    known = client.get("/static/page.css", headers={"If-None-Match": answer.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    head = client.head("/static/page.css")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(LONG)))


@pytest.mark.parametrize(
    "path",
    ["other.css", "inner", "", "../secret.txt", "..%2Fsecret.txt", "%2e%2e/secret.txt", "%00"],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


def test_files_are_only_read(client: TestClient) -> None:
    assert client.post("/static/page.css").status_code == 405
