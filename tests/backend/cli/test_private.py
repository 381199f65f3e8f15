"""The data folder is closed to others, and a folder that others need is not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.api.server import check_guarded
from backend.cli.common import keep_private
from backend.cli.connect import _read_config, _read_token
from backend.errors import AddressError, LabelStudioError
from backend.settings import Settings
from model.files import private_folder


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_an_open_data_folder_is_closed_and_new_files_are_private(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()

    keep_private(Settings(data=data))
    (data / "new").write_text("")

    assert _mode(data) == 0o700
    assert _mode(data / "new") == 0o600


def test_folders_that_others_need_stay_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a folder like /tmp, and the working directory
    shared, here = tmp_path / "shared", tmp_path / "here"
    for folder in (shared, here):
        folder.mkdir()
    shared.chmod(0o1777)
    monkeypatch.chdir(here)

    for folder in (shared, here):
        private_folder(folder)

    assert _mode(shared) == 0o777
    assert _mode(here) == 0o755


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "server.example"])
def test_beyond_this_machine_a_password_is_needed_or_a_flag(host: str, tmp_path: Path) -> None:
    open_to_all = Settings(data=tmp_path, basic_auth_user="", basic_auth_password="")
    guarded = Settings(data=tmp_path, basic_auth_user="a", basic_auth_password="b")

    with pytest.raises(AddressError, match="--without-password"):
        check_guarded(open_to_all, host, without_password=False)
    check_guarded(open_to_all, host, without_password=True)
    check_guarded(guarded, host, without_password=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_alone_needs_none(host: str, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, basic_auth_user="", basic_auth_password="")

    check_guarded(settings, host, without_password=False)


def test_a_token_comes_from_a_file_and_one_in_the_arguments_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("secret-token\n")

    assert _read_token("", tmp_path / "token") == "secret-token"
    assert capsys.readouterr().err == ""
    assert _read_token("argument", None) == "argument"
    assert "--token-file" in capsys.readouterr().err
    with pytest.raises(LabelStudioError, match="cannot be read"):
        _read_token("", tmp_path / "nowhere")


def test_files_of_windows_editors_are_read_or_refused_in_a_sentence(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / encoding).write_text("<View/>", encoding)

    assert _read_config(str(tmp_path / "utf-8-sig")) == "<View/>"
    assert _read_token("", tmp_path / "utf-8-sig") == "<View/>"
    with pytest.raises(LabelStudioError, match="not text in UTF-8"):
        _read_config(str(tmp_path / "utf-16"))
