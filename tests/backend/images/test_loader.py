"""Every kind of address that a task may hold, and what is asked of whom for it."""

import base64
import hashlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
import pytest

from backend.errors import PictureAddressError, PictureError, PictureFormatError
from backend.images.loader import Pictures
from backend.label_studio.projects import LabelStudioHosts
from backend.settings import Settings
from tests.backend.images.conftest import NewPictures, Site

UPLOAD = "/data/upload/3/1bbdc4ff-a.png"


def test_an_upload_is_requested_at_the_address_of_buckets_first(
    pictures: Pictures, label_studio: Site, png: bytes, token: str
) -> None:
    label_studio.give("/storage-data/uploaded/", png)

    picture = pictures.read(UPLOAD, 1, 1)

    assert (picture.width, picture.height, picture.array.shape) == (40, 24, (24, 40, 3))
    assert picture.key == hashlib.sha256(png).hexdigest()
    assert picture.array[0, 0].tolist() == [220, 20, 20]
    ((path, headers),) = label_studio.seen
    assert path == "/storage-data/uploaded/?filepath=upload/3/1bbdc4ff-a.png"
    assert headers["Authorization"] == f"Token {token}"


@pytest.mark.parametrize(("status", "body"), [(400, b"{}"), (403, b""), (404, b""), (200, b"")])
def test_an_upload_on_label_studios_disk_is_found_by_its_own_address(
    status: int, body: bytes, pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    # given Label Studio as installed from PyPI: no bucket, or nginx where there is none
    label_studio.give("/storage-data/uploaded/", body, status)
    label_studio.give(UPLOAD, png)
    label_studio.give("/data/upload/3/other.png", png)

    assert pictures.read(UPLOAD, 1, 1).width == 40
    assert pictures.read("/data/upload/3/other.png", 1, 2).width == 40

    # then the second picture is looked for there at once
    assert label_studio.paths == [
        "/storage-data/uploaded/?filepath=upload/3/1bbdc4ff-a.png",
        UPLOAD,
        "/data/upload/3/other.png",
    ]


@pytest.mark.parametrize(
    "address", ["{url}/data/upload/3/a%20b.png", "data/upload/3/a b.png", "/data/upload/3/a b.png"]
)
def test_uploads_by_other_spellings(
    address: str, pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/storage-data/uploaded/", png)

    assert pictures.read(address.format(url=label_studio.url), 1, 1).width == 40

    query = parse_qs(urlsplit(label_studio.paths[0]).query)
    assert query == {"filepath": ["upload/3/a b.png"]}


def test_label_studios_own_name_for_itself_is_recognised(
    label_studio: Site, tmp_path: Path, png: bytes
) -> None:
    # given a Label Studio that calls itself localhost:8080, which it is not for this backend
    settings = Settings(data=tmp_path, label_studio_url=label_studio.url)
    hosts = LabelStudioHosts(settings, lambda project: ("http://localhost:8080", "legacy"))
    label_studio.give("/data/local-files/", png)

    picture = Pictures(settings, hosts).read(
        "http://localhost:8080/data/local-files/?d=a.png", 1, 1
    )

    assert picture.width == 40
    assert label_studio.paths == ["/data/local-files/?d=a.png"]


def test_a_label_studio_below_a_path(
    label_studio: Site, new_pictures: NewPictures, png: bytes
) -> None:
    pictures = new_pictures(label_studio_url=f"{label_studio.url}/studio/")
    label_studio.give("/studio/files/a.png", png)

    assert pictures.read("/files/a.png", 1, 1).width == 40
    assert pictures.read("/studio/files/a.png", 1, 1).width == 40
    assert pictures.read(f"{label_studio.url}/studio/files/a.png", 1, 1).width == 40
    assert label_studio.paths == ["/studio/files/a.png"]  # one picture, kept


@pytest.mark.parametrize(
    "uri", ["s3://bucket/über/a b.png", "gs://b/a.png", "azure-blob://c/a.png"]
)
def test_cloud_storage_is_opened_by_label_studio_for_the_task(
    uri: str, pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/tasks/7/presign/", png)

    assert pictures.read(uri, 1, 7).width == 40

    query = parse_qs(urlsplit(label_studio.paths[0]).query)
    assert base64.urlsafe_b64decode(query["fileuri"][0]).decode() == uri


def test_cloud_storage_without_a_task_is_refused(pictures: Pictures) -> None:
    with pytest.raises(PictureAddressError, match="task"):
        pictures.read("s3://bucket/a.png", 1, None)


@pytest.mark.parametrize("encoding", ["base64", "percent", "base64 without padding"])
def test_inline_pictures(encoding: str, pictures: Pictures, png: bytes) -> None:
    packed = base64.b64encode(png).decode()
    address = {
        "base64": f"data:image/png; base64,{packed}",
        "percent": f"data:image/png,{quote(png)}",
        "base64 without padding": f"DATA:image/png;charset=x;base64,{packed.rstrip('=')}",
    }[encoding]

    picture = pictures.read(address, 1, None)

    assert picture.key == hashlib.sha256(png).hexdigest()
    assert (picture.width, picture.height) == (40, 24)
    assert pictures.key_of(address, 1, None) == picture.key


@pytest.mark.parametrize("address", ["data:image/png;base64", "data:image/png;base64,a", "data:,"])
def test_damaged_inline_pictures(address: str, pictures: Pictures) -> None:
    with pytest.raises(PictureError):
        pictures.read(address, 1, 1)


def test_inline_pictures_have_the_size_limit_too(new_pictures: NewPictures) -> None:
    address = "data:image/png;base64," + base64.b64encode(bytes(3000)).decode()

    with pytest.raises(PictureFormatError, match="larger"):
        new_pictures(picture_max_bytes=2000).read(address, 1, 1)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "  ",
        7,
        ["/data/upload/a.png"],
        "ftp://host/a.png",
        "file:///etc/passwd",
        "C:\\a.png",
        "javascript:alert(1)",
        "http://",
        "http:///a.png",
        "http://host\x00/a",
        "http://ho\x01st/a",
        "http://[::1/a.png",
        "http://host:99999/a.png",
    ],
)
def test_a_value_that_is_no_address_is_refused_with_a_sentence(
    address: Any, pictures: Pictures, label_studio: Site
) -> None:
    with pytest.raises(PictureAddressError) as caught:
        pictures.read(address, 1, 1)

    assert str(caught.value).endswith(".")
    assert label_studio.seen == []


def test_an_address_in_label_studio_needs_its_url(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    pictures = Pictures(settings, LabelStudioHosts(settings))

    for address in ("/data/upload/1/a.png", "s3://bucket/a.png", "a.png"):
        with pytest.raises(PictureAddressError, match="PHRASECLICK_LABEL_STUDIO_URL"):
            pictures.read(address, 1, 1)


# -- kept pictures


def test_a_picture_is_downloaded_once_and_known_after_a_restart(
    new_pictures: NewPictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/a.png", png)
    first = new_pictures()
    assert first.key_of("/a.png", 1, 1) is None
    picture = first.read("/a.png", 1, 1)

    again = new_pictures()
    known = again.key_of("/a.png", 2, 9)
    same = again.read("/a.png", 2, 9)

    assert known == same.key == picture.key
    assert np.array_equal(same.array, picture.array)
    assert label_studio.paths == ["/a.png"]


@pytest.mark.timed
def test_a_cached_key_takes_less_than_a_millisecond(
    pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/storage-data/uploaded/", png)
    pictures.read(UPLOAD, 1, 1)

    start = time.perf_counter()
    for _ in range(100):
        assert pictures.key_of(UPLOAD, 1, 1) is not None

    assert (time.perf_counter() - start) / 100 < 0.001


@pytest.mark.parametrize("lost", ["entry", "file"])
def test_a_picture_that_is_no_longer_kept_is_fetched_again(
    lost: str, pictures: Pictures, label_studio: Site, png: bytes, tmp_path: Path
) -> None:
    label_studio.give("/a.png", png)
    pictures.read("/a.png", 1, 1)
    if lost == "entry":
        pictures.forget("/a.png", 1, 1)
        assert pictures.key_of("/a.png", 1, 1) is None
    else:
        for path in (tmp_path / "data" / "pictures" / "content").glob("*/*"):
            path.unlink()

    assert pictures.read("/a.png", 1, 1).width == 40
    assert len(label_studio.seen) == 2


def test_a_picture_that_cannot_be_decoded_is_not_cached(
    pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    label_studio.give("/a.png", b"<html>please log in</html>")
    with pytest.raises(PictureFormatError):
        pictures.read("/a.png", 1, 1)

    label_studio.give("/a.png", png)

    assert pictures.read("/a.png", 1, 1).width == 40


def test_a_full_disk_does_not_fail_clicks(
    pictures: Pictures, label_studio: Site, png: bytes, tmp_path: Path
) -> None:
    # given a cache folder that is gone and cannot come back
    root = tmp_path / "data" / "pictures"
    for folder in ("content", "index"):
        (root / folder).rmdir()
        (root / folder).write_text("in the way")
    label_studio.give("/a.png", png)

    assert pictures.read("/a.png", 1, 1).width == 40
    assert pictures.read("/a.png", 1, 1).width == 40


def test_concurrent_reads_share_one_download(
    pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    # given a slow host, and eight annotators who open the task together
    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(png)

    label_studio.pages["/a.png"] = answer
    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(lambda _: pictures.read("/a.png", 1, 1), range(8)))

    assert len(label_studio.seen) == 1
    assert [picture.width for picture in loaded] == [40] * 8


def test_hosts_that_never_answer_leave_threads_to_other_pictures(
    new_pictures: NewPictures, label_studio: Site, png: bytes
) -> None:
    # given two hosts that accept and never answer, and forty tasks with their pictures
    pictures = new_pictures(allow_private_addresses=True, picture_timeout_s=3)
    silent = [socket.create_server(("127.0.0.1", 0), backlog=100) for _ in range(2)]
    refused: list[str] = []

    def ask(number: int) -> None:
        port = silent[number % 2].getsockname()[1]
        try:
            pictures.read(f"http://127.0.0.1:{port}/{number}.png", 1, number)
        except PictureError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    label_studio.give("/a.png", png)
    # when
    assert pictures.read("/a.png", 1, 99).width == 40
    # then eight of each host wait, and the others were refused at once
    assert len(refused) == 40 - 16
    assert all("Too many" in sentence for sentence in refused)
    for thread in threads:
        thread.join()
    assert not pictures._waiting
    for host in silent:
        host.close()


def test_concurrent_reads_share_a_failure_but_not_the_next_try(
    pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        handler.send_error(500)

    label_studio.pages["/a.png"] = answer
    with ThreadPoolExecutor(5) as threads:
        asked = [threads.submit(pictures.read, "/a.png", 1, 1) for _ in range(5)]
    failures = [one.exception() for one in asked]

    assert len(label_studio.seen) == 1
    assert len({id(error) for error in failures}) == 5
    assert {str(error) for error in failures} == {str(failures[0])}
    label_studio.give("/a.png", png)
    assert pictures.read("/a.png", 1, 1).width == 40
