"""Versions appear whole or not at all, in a folder and in an object store."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from backend.errors import StorageError
from backend.registry.store import VersionStore, open_store
from backend.settings import Settings
from model import checkpoint_files as files

Contents = dict[str, bytes]


def contents_of(text: str) -> Contents:
    """Files that look like a checkpoint's to a store."""
    made = {file: f"{file} of {text}".encode() * 100 for file in files.FILES}
    return {**made, files.SUMS: files.sums_text(made).encode()}


def sums(contents: Contents) -> dict[str, str]:
    return files.parse_sums(contents[files.SUMS].decode())


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[VersionStore]:
    yield VersionStore("memory://bucket/versions/", tmp_path / "cache")
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> VersionStore:
    if request.param == "folder":
        return VersionStore.in_folder(tmp_path / "versions")
    remote: VersionStore = request.getfixturevalue("remote")
    return remote


def kept_by(store: VersionStore) -> list[str]:
    """All files in the store, hidden ones too."""
    if store._in_place:
        return sorted(str(path.relative_to(store.local)) for path in store.local.rglob("*"))
    paths: list[str] = fsspec.filesystem("memory").find("/bucket")
    return sorted(paths)


def test_a_version_is_read_back_as_written(store: VersionStore) -> None:
    contents = contents_of("one")
    store.put("one-1", contents)

    folder = store.fetch("one-1", sums(contents))

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert store.has("one-1")
    assert not store.has("other")


def test_writing_again_is_fine_but_other_content_is_refused(store: VersionStore) -> None:
    store.put("one-1", contents_of("one"))
    before = kept_by(store)
    store.put("one-1", contents_of("one"))

    with pytest.raises(StorageError, match="never changes"):
        store.put("one-1", contents_of("other"))

    assert kept_by(store) == before
    store.fetch("one-1", sums(contents_of("one")))


def test_a_missing_version_is_an_error_to_fetch_but_not_to_delete(store: VersionStore) -> None:
    with pytest.raises(StorageError):
        store.fetch("nowhere", sums(contents_of("one")))
    store.delete("nowhere")


def test_delete_leaves_no_file(store: VersionStore) -> None:
    store.put("one-1", contents_of("one"))
    store.put("two-2", contents_of("two"))

    store.delete("one-1")

    assert not store.has("one-1")
    assert not [path for path in kept_by(store) if "one-1" in path]
    store.fetch("two-2", sums(contents_of("two")))


def test_files_that_differ_from_the_registered_sums_are_refused(store: VersionStore) -> None:
    store.put("one-1", contents_of("one"))

    with pytest.raises(StorageError):
        store.fetch("one-1", sums(contents_of("other")))


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    def opened(where: str) -> VersionStore:
        return open_store(Settings(data=tmp_path, checkpoint_store=where))

    inside, folder, url = opened(""), opened(f"{tmp_path}/x"), opened(f"file://{tmp_path}/x")
    assert inside.local == tmp_path / "versions"
    assert folder.local == url.local == tmp_path / "x"
    assert [store._in_place for store in (inside, folder, url)] == [True] * 3
    assert not opened("memory://bucket")._in_place


# -- in a folder


def test_a_folder_shows_no_half_written_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = VersionStore.in_folder(tmp_path / "versions")
    seen: list[tuple[bool, list[str]]] = []

    def looks_meanwhile(path: Path, data: bytes) -> None:
        path.write_bytes(data)
        seen.append((store.has("one-1"), [entry.name for entry in store.local.glob("one*")]))

    monkeypatch.setattr(files, "_write_synced", looks_meanwhile)
    store.put("one-1", contents_of("one"))

    assert seen == [(False, [])] * 5
    assert store.has("one-1")


def test_a_full_disk_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = VersionStore.in_folder(tmp_path / "versions")

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        if path.name == files.WEIGHTS:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_synced", full)
    with pytest.raises(StorageError, match="No space left"):
        store.put("one-1", contents_of("one"))

    assert kept_by(store) == []


def test_one_changed_byte_is_detected(tmp_path: Path) -> None:
    store = VersionStore.in_folder(tmp_path / "versions")
    store.put("one-1", contents_of("one"))
    path = store.local / "one-1" / files.WEIGHTS
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    with pytest.raises(StorageError, match="damaged"):
        store.fetch("one-1", sums(contents_of("one")))


def test_what_a_killed_process_left_is_swept_after_a_day(tmp_path: Path) -> None:
    store = VersionStore.in_folder(tmp_path / "versions")
    store.put("one-1", contents_of("one"))
    for name in (".two-2-abcd", ".three-3-abcd"):
        (store.local / name).mkdir()
        (store.local / name / files.WEIGHTS).write_bytes(b"half")
    long_ago = time.time() - 100_000
    os.utime(store.local / ".two-2-abcd", (long_ago, long_ago))

    assert store.sweep() == 1
    assert sorted(path.name for path in store.local.iterdir()) == [".three-3-abcd", "one-1"]


_WRITER = """
import sys
from pathlib import Path
from backend.registry.store import VersionStore
from model import checkpoint_files as files
store = VersionStore.in_folder(Path(sys.argv[1]))
for number in range(100_000):
    made = {file: f"{file} {number}".encode() * 50_000 for file in files.FILES}
    made[files.SUMS] = files.sums_text(made).encode()
    store.put(f"{sys.argv[2]}-{number}", made)
    if number % 3 == 2:
        store.delete(f"{sys.argv[2]}-{number - 1}")
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_leaves_no_partial_version(tmp_path: Path) -> None:
    store = VersionStore.in_folder(tmp_path / "versions")
    seen = set()
    for life in range(6):
        command = [sys.executable, "-c", _WRITER, str(store.local), f"life{life}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            for _ in range(life + 1):
                writer.stdout.readline()
            time.sleep(0.003 * life)
            writer.kill()
        for folder in store.local.glob("life*"):
            files.read(folder)  # raises where a file is missing or cut short
            seen.add(folder.name)

    assert len(seen) >= 6
    store.sweep(older_than_s=0)
    assert not list(store.local.glob(".*"))


# -- in an object store


def test_an_interrupted_upload_is_invisible_and_can_be_repeated(
    remote: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    sending = type(memory).pipe_file

    def broken(self: object, path: str, value: bytes, **options: object) -> None:
        if path.endswith(files.SUMS):
            raise ConnectionError("the line broke")
        sending(self, path, value)

    monkeypatch.setattr(type(memory), "pipe_file", broken)
    with pytest.raises(StorageError, match="the line broke"):
        remote.put("one-1", contents_of("one"))

    assert len(memory.find("/bucket")) == len(files.FILES)
    assert not remote.has("one-1")
    with pytest.raises(StorageError, match="holds no version"):
        remote.fetch("one-1", sums(contents_of("one")))

    monkeypatch.undo()
    remote.put("one-1", contents_of("one"))
    remote.fetch("one-1", sums(contents_of("one")))


def test_an_interrupted_upload_is_swept_after_a_day(remote: VersionStore) -> None:
    memory = fsspec.filesystem("memory")
    remote.put("one-1", contents_of("one"))
    memory.pipe_file("/bucket/versions/two-2/weights.safetensors", b"half")

    assert remote.sweep() == 0
    assert remote.sweep(older_than_s=0) == 1
    assert remote.has("one-1")
    assert not memory.exists("/bucket/versions/two-2")


def test_a_fetched_version_is_available_without_the_store(
    remote: VersionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = contents_of("one")
    remote.put("one-1", contents)
    first = remote.fetch("one-1", sums(contents))

    def away(*_: object, **__: object) -> bytes:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, "cat_file", away)
    assert remote.fetch("one-1", sums(contents)) == first
    with pytest.raises(StorageError, match="no route to host"):
        remote.fetch("two-2", sums(contents))


def test_a_damaged_copy_is_fetched_again(remote: VersionStore) -> None:
    contents = contents_of("one")
    remote.put("one-1", contents)
    folder = remote.fetch("one-1", sums(contents))
    (folder / files.WEIGHTS).write_bytes(b"bits have rotted")

    folder = remote.fetch("one-1", sums(contents))

    assert (folder / files.WEIGHTS).read_bytes() == contents[files.WEIGHTS]


def test_damage_in_the_store_is_reported_and_not_cached(remote: VersionStore) -> None:
    contents = contents_of("one")
    remote.put("one-1", contents)
    fsspec.filesystem("memory").pipe_file("/bucket/versions/one-1/weights.safetensors", b"rotten")

    with pytest.raises(StorageError, match="damaged"):
        remote.fetch("one-1", sums(contents))
    assert list(remote.local.iterdir()) == []


def test_the_cache_keeps_the_most_recently_used(
    remote: VersionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.registry.store._CACHED", 2)
    for age, name in ((30, "a"), (20, "b"), (10, "c")):
        remote.put(name, contents_of(name))
        folder = remote.fetch(name, sums(contents_of(name)))
        os.utime(folder, (time.time() - age,) * 2)
    remote.put("d", contents_of("d"))
    remote.fetch("b", sums(contents_of("b")))
    remote.fetch("d", sums(contents_of("d")))

    assert sorted(path.name for path in remote.local.iterdir()) == ["b", "d"]


def test_a_store_with_real_folders_gets_one_for_each_version_but_none_for_itself(
    tmp_path: Path,
) -> None:
    # fsspec's own view of a folder, which, like sftp, does not create folders.
    remote = VersionStore(f"local://{tmp_path}/server", tmp_path / "cache")
    with pytest.raises(StorageError, match="could not be written"):
        remote.put("one-1", contents_of("one"))
    assert not (tmp_path / "server").exists()

    (tmp_path / "server").mkdir()
    remote.put("one-1", contents_of("one"))
    remote.fetch("one-1", sums(contents_of("one")))
    remote.delete("one-1")
    assert list((tmp_path / "server").iterdir()) == []


def test_a_store_whose_library_is_missing_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(StorageError, match=r"phraseclick-label-studio\[s3\]"):
        VersionStore("s3://bucket", tmp_path)


def test_a_password_in_the_url_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError("denied")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refused)
    with pytest.raises(StorageError) as said:
        VersionStore("sftp://me:sesame@host/versions", tmp_path)
    assert "sftp://host/versions" in str(said.value)
    assert "sesame" not in str(said.value)
