"""Settings of the environment: what is meant is read, what cannot be meant is refused."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings


@pytest.fixture(autouse=True)
def _no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PHRASECLICK_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("written", ["", "  "])
@pytest.mark.parametrize("name", Settings.model_fields)
def test_an_empty_variable_is_the_default(
    name: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PHRASECLICK_{name.upper()}", written)

    value = getattr(Settings(), name)

    default = Settings.model_fields[name].default
    assert value == default or value.get_secret_value().strip() == ""


def test_blanks_around_a_value_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHRASECLICK_DATA", " /data ")
    monkeypatch.setenv("PHRASECLICK_LOG_LEVEL", "debug\t")
    monkeypatch.setenv("PHRASECLICK_BASIC_AUTH_PASSWORD", " kept ")

    settings = Settings()

    assert settings.data == Path("/data")
    assert settings.log_level == "debug"
    assert settings.basic_auth_password.get_secret_value() == " kept "


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("DATA", '"/data"'),
        ("DATA", "/data/\udcff"),
        ("LABEL_STUDIO_URL", "'http://host:8080'"),
        ("LABEL_STUDIO_URL", "http://[::1"),
        ("BROKER_URL", "sentinel://a:1;sentinel://b:two"),
        ("PICTURE_TIMEOUT_S", "-1"),
        ("PICTURE_TIMEOUT_S", "nan"),
        ("PICTURE_MAX_BYTES", "0"),
        ("TORCH_THREADS", "-1"),
        ("OUTLINE_TOLERANCE", "inf"),
        # What a calendar cannot hold would end the worker later.
        ("KEEP_MASKS_DAYS", "1e9"),
        ("FORGET_AFTER_DAYS", "-1"),
        ("IDLE_MINUTES", "1e300"),
        ("LEASE_S", "inf"),
        ("LONGEST_JOB_HOURS", "1e9"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(
    name: str, written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"PHRASECLICK_{name}", written)

    with pytest.raises(ValidationError, match=name.lower()):
        Settings()
