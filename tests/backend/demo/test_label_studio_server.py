"""The real Label Studio that demonstration and tests run."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from backend.demo.label_studio_server import find_program, label_studio
from backend.errors import DemoError
from backend.label_studio.client import LabelStudio


@pytest.mark.slow
def test_it_answers_keeps_its_folder_and_is_gone_afterwards(tmp_path: Path) -> None:
    # given
    with label_studio(tmp_path / "data") as server:
        studio = LabelStudio(server.url, server.token)
        assert studio.whoami()["email"] == server.user
        project = studio.create_project("kept", "<View></View>")["id"]
        # and logging in works
        with requests.Session() as browser:
            page = browser.get(f"{server.url}/user/login/", timeout=30)
            form = {
                "email": server.user,
                "password": server.password,
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
            }
            entered = browser.post(page.url, data=form, timeout=30)
        assert "/user/login" not in entered.url
    # then
    port = urlsplit(server.url).port
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    # and when started again on the same folder
    with label_studio(tmp_path / "data", token=server.token) as again:
        assert LabelStudio(again.url, again.token).project(project)["title"] == "kept"


def test_without_a_program_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("backend.demo.label_studio_server.__file__", str(tmp_path / "a/b/c.py"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DemoError, match="make setup-label-studio"):
        find_program()
