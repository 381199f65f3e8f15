"""Atomic writes: all or nothing."""

import os
from pathlib import Path

import pytest

from model.files import atomic_file, atomic_write


@pytest.mark.parametrize("content", ["grün", b"\x00\xff"])
def test_a_file_is_created_and_replaced(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"

    for old in ("", "longer than the new content"):
        path.write_text(old)
        atomic_write(path, content)

    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("single_writer", [True, False])
def test_an_error_changes_nothing(tmp_path: Path, single_writer: bool) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write_half() -> None:
        with atomic_file(path, single_writer=single_writer) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_content_is_read_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"


def test_permissions_follow_the_umask_or_are_private(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        atomic_write(tmp_path / "public", "")
        atomic_write(tmp_path / "private", "", private=True)
    finally:
        os.umask(old)

    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_a_single_writer_replaces_what_a_killed_write_left(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    (tmp_path / ".state.pt.part").write_text("half of a long file")

    with atomic_file(path, single_writer=True) as file:
        file.write(b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert path.read_text() == "new"
