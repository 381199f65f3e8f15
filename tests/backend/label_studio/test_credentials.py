"""Credentials per project and the webhook's secret: files that only their owner can read."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.errors import CredentialsError
from backend.label_studio.credentials import (
    CREDENTIALS_FILE,
    SECRET_FILE,
    Credentials,
    forget_credentials,
    load_credentials,
    make_webhook_secret,
    save_credentials,
    webhook_secret,
)
from backend.settings import Settings


def test_nothing_is_kept_before_connect_ran(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "not-yet")

    assert load_credentials(settings) == {}
    assert webhook_secret(settings) == "", "none is asked for"


def test_projects_are_kept_side_by_side_and_replaced_by_their_own(tmp_path: Path) -> None:
    # given
    settings = Settings(data=tmp_path / "fresh")
    first = Credentials("http://one:8080", "token-1", "http://me:9090")
    second = Credentials("http://two:8080", "token-2", "http://me:9090")
    save_credentials(settings, 1, first)
    # when
    save_credentials(settings, 2, first)
    path = save_credentials(settings, 2, second)
    # then
    assert load_credentials(settings) == {1: first, 2: second}
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in (tmp_path / "fresh").iterdir()] == [path.name]


def test_credentials_of_one_project_are_forgotten(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    for project in (1, 2):
        save_credentials(
            settings, project, Credentials("http://ls", f"token-{project}", "http://me")
        )

    assert forget_credentials(settings, 1)

    assert list(load_credentials(settings)) == [2]
    assert not forget_credentials(settings, 1)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "[]",
        '{"1": {}}',
        '{"1": {"url": "u", "token": null, "backend_url": "b"}}',
        "[" * 100_000,
    ],
)
def test_damaged_credentials_are_an_error(written: str, tmp_path: Path) -> None:
    (tmp_path / CREDENTIALS_FILE).write_text(written)

    with pytest.raises(CredentialsError, match="phraseclick connect"):
        load_credentials(Settings(data=tmp_path))


def test_a_token_does_not_show_where_the_access_is_printed() -> None:
    assert "secret" not in repr(Credentials("http://one:8080", "secret", "http://me:9090"))


def test_a_made_secret_is_kept_and_seen_by_the_owner_alone(tmp_path: Path) -> None:
    # given
    settings = Settings(data=tmp_path / "fresh")
    # when
    made = make_webhook_secret(settings)
    # then
    assert len(made) >= 32
    assert webhook_secret(settings) == made == make_webhook_secret(settings)
    assert (tmp_path / "fresh" / SECRET_FILE).stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == [SECRET_FILE]


def test_commands_at_the_same_time_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_webhook_secret(Settings(data=tmp_path)), range(16)))
    assert len(set(made)) == 1


def test_the_setting_comes_first_and_writes_no_file(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, webhook_secret=SecretStr("chosen by the admin"))
    assert make_webhook_secret(settings) == "chosen by the admin"
    assert not (tmp_path / SECRET_FILE).exists()
