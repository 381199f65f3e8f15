"""The webhook's secret: one per data folder, for its owner alone, the setting first."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import SecretStr

from backend.label_studio.webhook_secret import FILE_NAME, make_webhook_secret, webhook_secret
from backend.settings import Settings


def test_a_fresh_data_folder_asks_for_no_secret(tmp_path: Path) -> None:
    assert webhook_secret(Settings(data=tmp_path / "not-yet")) == ""


def test_a_made_secret_is_kept_and_seen_by_the_owner_alone(tmp_path: Path) -> None:
    # given
    settings = Settings(data=tmp_path / "fresh")
    # when
    made = make_webhook_secret(settings)
    # then
    assert len(made) >= 32
    assert webhook_secret(settings) == made == make_webhook_secret(settings)
    assert (tmp_path / "fresh" / FILE_NAME).stat().st_mode & 0o077 == 0
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == [FILE_NAME]


def test_commands_at_the_same_time_agree_on_one_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_webhook_secret(Settings(data=tmp_path)), range(16)))
    assert len(set(made)) == 1


def test_the_setting_comes_first_and_writes_no_file(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, webhook_secret=SecretStr("chosen by the admin"))
    assert make_webhook_secret(settings) == "chosen by the admin"
    assert not (tmp_path / FILE_NAME).exists()
