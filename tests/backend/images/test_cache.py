"""The cache on disk: bounded, shared by processes, never half written, silent about addresses."""

import hashlib
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from backend.images import loader as cache_module
from backend.images.loader import PictureCache

KB = 1024
KEY = "a" * 64


def key_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def kept(root: Path) -> int:
    """Bytes of all pictures kept."""
    return sum(path.stat().st_size for path in (root / "content").glob("*/*"))


def test_another_process_finds_a_cached_picture(tmp_path: Path) -> None:
    content = b"picture"
    first, other = PictureCache(tmp_path, 1000 * KB), PictureCache(tmp_path, 1000 * KB)

    first.keep(key_of(content), content)
    first.note("http://host/a.png", key_of(content))

    assert other.find("http://host/a.png", fixed=True) == key_of(content)
    assert other.read(key_of(content)) == content
    assert other.find("http://host/b.png", fixed=True) is None
    assert other.read(key_of(b"other")) is None

    first.forget("http://host/a.png")
    assert other.find("http://host/a.png", fixed=True) is None


def test_the_cache_never_outgrows_its_limit(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 1000 * KB)

    for number in range(130):
        content = os.urandom(10 * KB)
        cache.keep(key_of(content), content)
        assert kept(tmp_path) <= 1000 * KB, number

    # then it is not emptied either
    assert kept(tmp_path) >= 700 * KB


def test_the_least_recently_used_is_deleted_first(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 1000 * KB)
    contents = [bytes([number]) * (10 * KB) for number in range(80)]
    past = time.time() - 10_000
    for number, content in enumerate(contents):
        cache.keep(key_of(content), content)
        path = tmp_path / "content" / key_of(content)[:2] / key_of(content)
        os.utime(path, (past + number, past + number))

    # when the oldest is used once more and many others come
    assert cache.read(key_of(contents[0])) is not None
    for number in range(100, 140):
        content = bytes([number]) * (10 * KB)
        cache.keep(key_of(content), content)

    assert cache.read(key_of(contents[0])) is not None
    assert cache.read(key_of(contents[1])) is None


def test_a_picture_that_does_not_fit_is_not_cached_and_evicts_nothing(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 100 * KB)
    cache.keep(key_of(b"small"), b"small")

    cache.keep(key_of(bytes(200 * KB)), bytes(200 * KB))

    assert cache.read(key_of(bytes(200 * KB))) is None
    assert cache.read(key_of(b"small")) == b"small"


def test_an_address_that_may_change_is_cached_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = PictureCache(tmp_path, 100 * KB)
    cache.note("address", KEY)
    now = time.time()

    monkeypatch.setattr(cache_module.time, "time", lambda: now + cache_module.FRESH_S - 60)
    assert cache.find("address", fixed=False) == KEY
    monkeypatch.setattr(cache_module.time, "time", lambda: now + cache_module.FRESH_S + 60)

    assert cache.find("address", fixed=False) is None
    assert cache.find("address", fixed=True) == KEY


@pytest.mark.parametrize("rubbish", [b"", b"{", b"a" * 63, b"\xff" * 64])
def test_a_damaged_entry_is_ignored(tmp_path: Path, rubbish: bytes) -> None:
    cache = PictureCache(tmp_path, 100 * KB)
    cache.note("address", KEY)
    (entry,) = (tmp_path / "index").glob("*/*")
    entry.write_bytes(rubbish)

    assert cache.find("address", fixed=True) is None


def test_no_name_and_no_file_holds_an_address(tmp_path: Path) -> None:
    cache = PictureCache(tmp_path, 100 * KB)
    cache.keep(key_of(b"picture"), b"picture")

    cache.note("http://u:hunter2@h/a?sig=abcdef", KEY)

    for path in tmp_path.rglob("*"):
        assert "abcdef" not in str(path.relative_to(tmp_path))
        if path.is_file():
            assert b"abcdef" not in path.read_bytes()
            assert b"hunter2" not in path.read_bytes()


def test_files_of_dead_processes_are_deleted(tmp_path: Path) -> None:
    # given a file that a process wrote half, two hours ago, and an entry whose picture is gone
    cache = PictureCache(tmp_path, 100 * KB)
    cache.note("gone", KEY)
    (entry,) = (tmp_path / "index").glob("*/*")
    half = tmp_path / "content" / "ab" / "tmpxyz.part"
    half.parent.mkdir()
    half.write_bytes(bytes(KB))
    for path in (half, entry):
        os.utime(path, (time.time() - 7200, time.time() - 7200))

    for number in range(20):
        content = bytes([number]) * (10 * KB)
        cache.keep(key_of(content), content)

    assert not half.exists()
    assert not entry.exists()


def write_many(root: str, seed: int) -> None:
    cache = PictureCache(Path(root), 500 * KB)
    for number in range(70):
        # Every second picture is one that the others write too.
        content = bytes([number % 256, seed if number % 2 else 0]) * (5 * KB)
        key = key_of(content)
        cache.keep(key, content)
        cache.note(f"address {number % 7}", key)
        cached = cache.read(key)
        if cached is not None and key_of(cached) != key:
            raise AssertionError("half a picture")
        cache.find(f"address {number % 7}", fixed=True)


def test_processes_share_one_cache(tmp_path: Path) -> None:
    # given three processes that write, read and trim at once
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=write_many, args=(str(tmp_path), seed)) for seed in (1, 2, 3)
    ]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert kept(tmp_path) <= 500 * KB
    for path in (tmp_path / "content").glob("*/*"):
        assert key_of(path.read_bytes()) == path.name
    assert PictureCache(tmp_path, 500 * KB).find("address 3", fixed=True) is not None
