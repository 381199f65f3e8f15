"""doctor --security names each weak setting, and none that is fine."""

from pathlib import Path
from typing import Any

import pytest

from backend.label_studio.credentials import SECRET_FILE, make_webhook_secret
from backend.label_studio.probe import weak_settings
from backend.settings import Settings


def weak(settings: Settings) -> dict[str, bool | None]:
    return {
        finding.about: finding.good
        for finding in weak_settings(settings)
        if finding.good is not True
    }


def guarded(tmp_path: Path, **changes: Any) -> Settings:
    (tmp_path / "data").mkdir(mode=0o700, exist_ok=True)
    values = {
        "data": tmp_path / "data",
        "basic_auth_user": "admin",
        "basic_auth_password": "a long password",
        "label_studio_url": "https://studio.example",
        "database_url": "",
        **changes,
    }
    settings = Settings(**values)
    make_webhook_secret(settings)
    return settings


def test_an_installation_that_is_closed_has_no_finding(tmp_path: Path) -> None:
    assert weak(guarded(tmp_path)) == {}


def test_each_weakness_is_reported(tmp_path: Path) -> None:
    assert weak(guarded(tmp_path, basic_auth_user="", basic_auth_password="")) == {"password": None}
    assert weak(guarded(tmp_path, basic_auth_user="")) == {"password": False}
    assert weak(guarded(tmp_path, basic_auth_password="")) == {"password": False}
    assert weak(guarded(tmp_path, basic_auth_password="short")) == {"password": False}
    assert weak(guarded(tmp_path, allow_private_addresses=True)) == {"pictures": False}
    assert weak(guarded(tmp_path, label_studio_url="http://studio.example")) == {
        "Label Studio": None
    }
    assert weak(guarded(tmp_path, local_files_root=tmp_path)) == {"pictures": False}
    assert weak(guarded(tmp_path, local_files_root=tmp_path / "pictures")) == {}
    assert weak(guarded(tmp_path, broker_url="redis://queue:6379/0")) == {"broker": None}
    assert weak(guarded(tmp_path, broker_url="redis://:secret@queue:6379/0")) == {}
    assert weak(guarded(tmp_path, broker_url="redis://localhost:6379/0")) == {}
    nobody = guarded(tmp_path, database_url="postgresql://user:@host/name")
    assert weak(nobody) == {"database": None}
    (tmp_path / "data").chmod(0o755)
    assert weak(guarded(tmp_path)) == {"data folder": False}


def test_a_link_to_nowhere_in_the_data_folder_is_no_crash(tmp_path: Path) -> None:
    (guarded(tmp_path).data / "pictures").symlink_to(tmp_path / "gone")

    assert weak(guarded(tmp_path)) == {}


def test_a_misspelled_setting_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASECLICK_BASIC_AUTH_PASWORD", "secret")
    assert weak(guarded(tmp_path)) == {"settings": False}


def test_an_emptied_secret_is_a_weakness_and_no_missing_one(tmp_path: Path) -> None:
    settings = guarded(tmp_path)
    (settings.data / SECRET_FILE).write_text("")

    assert weak(settings) == {"webhook": False}
