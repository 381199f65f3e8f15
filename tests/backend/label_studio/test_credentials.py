"""What connect keeps for the server: per project, for its owner alone, tokens out of sight."""

from pathlib import Path

from backend.label_studio.credentials import KeptAccess, keep_access, kept_access
from backend.settings import Settings


def test_nothing_is_kept_before_connect_ran(tmp_path: Path) -> None:
    assert kept_access(Settings(data=tmp_path / "not-yet")) == {}


def test_projects_are_kept_side_by_side_and_replaced_by_their_own(tmp_path: Path) -> None:
    # given
    settings = Settings(data=tmp_path / "fresh")
    first = KeptAccess("http://one:8080", "token-1", "http://me:9090")
    second = KeptAccess("http://two:8080", "token-2", "http://me:9090")
    keep_access(settings, 1, first)
    # when
    keep_access(settings, 2, first)
    path = keep_access(settings, 2, second)
    # then
    assert kept_access(settings) == {1: first, 2: second}
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in (tmp_path / "fresh").iterdir()] == [path.name]


def test_a_token_does_not_show_where_the_access_is_printed() -> None:
    assert "secret" not in repr(KeptAccess("http://one:8080", "secret", "http://me:9090"))
