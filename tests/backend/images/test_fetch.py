"""Downloads from real servers: limits hold, the token stays at home, failures are words."""

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from backend.errors import (
    PictureAwayError,
    PictureError,
    PictureFetchError,
    PictureFormatError,
)
from backend.images.loader import Pictures
from tests.backend.images.conftest import NewPictures, NewSite, Site

real_getaddrinfo = socket.getaddrinfo


def drip(handler: BaseHTTPRequestHandler, text: bytes) -> None:
    """Write a byte every 50 ms for some seconds: each read succeeds, the whole never ends."""
    for byte in text:
        try:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
        except OSError:
            return
        time.sleep(0.05)


# -- the token


def test_the_token_goes_to_label_studio_only(
    new_pictures: NewPictures, label_studio: Site, new_site: NewSite, png: bytes, token: str
) -> None:
    # given a picture that Label Studio sends on to a storage, which sends back and on once more
    storage = new_site()
    label_studio.send_on("/tasks/7/presign/", f"{storage.url}/one?X-Amz-Signature=abc", 303)
    storage.send_on("/one", f"{label_studio.url}/back", 307)
    label_studio.send_on("/back", f"{storage.url}/two", 308)
    storage.give("/two", png)

    new_pictures(allow_private_addresses=True).read("s3://bucket/a.png", 1, 7)

    assert storage.paths == ["/one?X-Amz-Signature=abc", "/two"]
    assert [headers.get("Authorization") for _, headers in storage.seen] == [None, None]
    assert [headers.get("Authorization") for _, headers in label_studio.seen] == [
        f"Token {token}",
        f"Token {token}",
    ]


@pytest.mark.parametrize(
    "address",
    [
        "http://{other}/a.png",  # another port
        "http://localhost:{port}/a.png",  # another name of the same machine
        "http://127.0.0.1:{port}@{other}/a.png",  # Label Studio as the user name
        "http://{other}#@127.0.0.1:{port}/a.png",
        "http://{other}?@127.0.0.1:{port}/a.png",
        "http://{other}\\@127.0.0.1:{port}/a.png",
        "http://{other}\\.127.0.0.1:{port}/a.png",
        "//{other}/a.png",
        "https://127.0.0.1:{port}/a.png",  # another scheme
    ],
)
def test_no_trick_in_an_address_sends_the_token_elsewhere(
    address: str, new_pictures: NewPictures, label_studio: Site, new_site: NewSite, png: bytes
) -> None:
    # given a server that would hand out anything, and the loosest settings
    other = new_site()
    for site in (other, label_studio):
        for path in ("/", "/a.png"):
            site.give(path, png)
    address = address.format(other=f"127.0.0.1:{other.port}", port=label_studio.port)

    with contextlib.suppress(PictureError):
        new_pictures(allow_private_addresses=True).read(address, 1, 1)

    assert all("Token" not in headers.get("Authorization", "") for _, headers in other.seen)
    if "localhost" in address:
        assert all("Authorization" not in headers for _, headers in label_studio.seen)


def test_messages_contain_no_secrets(
    new_pictures: NewPictures, label_studio: Site, new_site: NewSite, token: str
) -> None:
    # given a storage that refuses a signed address, and hosts that are not there
    storage = new_site()
    storage.give("/gone.png", b"no", 403)
    label_studio.send_on("/tasks/7/presign/", f"{storage.url}/gone.png?X-Amz-Signature=abcdef")
    pictures = new_pictures(allow_private_addresses=True)

    for address in (
        "s3://bucket/a.png",
        "http://user:hunter2@127.0.0.1:1/a.png?sig=abcdef",
        "http://user:hunter2@[bad/a.png?sig=abcdef",
        "ftp://user:hunter2@host/a.png?sig=abcdef",
        "http://user:hunter2@no-such-host.invalid/a.png?sig=abcdef",
    ):
        with pytest.raises(PictureError) as caught:
            pictures.read(address, 1, 7)

        # then neither the sentence nor what a log prints with it tells
        error: BaseException | None = caught.value
        assert str(error).endswith(".")
        while error is not None:
            for secret in ("abcdef", "hunter2", token):
                assert secret not in str(error)
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


# -- limits


@pytest.mark.parametrize("announced", [True, False])
def test_a_download_stops_at_the_limit(
    announced: bool, new_pictures: NewPictures, label_studio: Site
) -> None:
    # given a server that sends a gigabyte, and may say so before
    sent = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if announced:
            handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(1 << 14):
                handler.wfile.write(bytes(1 << 16))
                sent.append(1)

    label_studio.pages["/a.png"] = answer

    with pytest.raises(PictureFormatError, match="larger than 1 MB"):
        new_pictures(picture_max_bytes=1 << 20).read("/a.png", 1, 1)

    # then most of it was never sent
    assert len(sent) < (1000 if announced else 10_000)


@pytest.mark.timed
@pytest.mark.parametrize("part", ["headers", "body", "body without length", "silence"])
def test_the_time_limit_covers_the_whole_download(
    part: str, new_pictures: NewPictures, label_studio: Site
) -> None:
    # given a server that sends a byte now and then, for seven seconds
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if part == "silence":
            time.sleep(7)
        elif part == "headers":
            drip(handler, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 120)
        else:
            handler.send_response(200)
            if part == "body":
                handler.send_header("Content-Length", "1000")
            handler.end_headers()
            drip(handler, b"b" * 140)

    label_studio.pages["/a.png"] = answer
    start = time.monotonic()

    with pytest.raises(PictureFetchError, match=r"within 0\.6 s|in time"):
        new_pictures(picture_timeout_s=0.6).read("/a.png", 1, 1)

    assert 0.4 < time.monotonic() - start < 2


@pytest.mark.timed
def test_the_time_limit_covers_all_redirects(new_pictures: NewPictures, label_studio: Site) -> None:
    # given hops that each are quick enough
    def answer(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(0.25)
        handler.send_response(302)
        handler.send_header("Location", f"/hop{len(label_studio.seen)}")
        handler.end_headers()

    for hop in ("/a.png", "/hop1", "/hop2", "/hop3", "/hop4", "/hop5"):
        label_studio.pages[hop] = answer

    start = time.monotonic()
    with pytest.raises(PictureFetchError, match=r"within 0\.6 s|in time"):
        new_pictures(picture_timeout_s=0.6).read("/a.png", 1, 1)

    assert time.monotonic() - start < 1.2


@pytest.mark.timed
def test_the_time_limit_covers_a_dead_name_server(
    new_pictures: NewPictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **kw: asleep.wait(5) or [])
    start = time.monotonic()

    with pytest.raises(PictureFetchError, match=r"within 0\.4 s|in time"):
        new_pictures(picture_timeout_s=0.4).read("http://slow.example/a.png", 1, 1)

    assert time.monotonic() - start < 2
    asleep.set()


@pytest.mark.parametrize(("hops", "comes"), [(5, True), (6, False)])
def test_five_redirects_and_no_more(
    hops: int, comes: bool, pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    for hop in range(hops):
        label_studio.send_on(f"/{hop}", f"/{hop + 1}")
    label_studio.give(f"/{hops}", png)

    if comes:
        assert pictures.read("/0", 1, 1).width == 40
    else:
        with pytest.raises(PictureFetchError, match="more than 5 times"):
            pictures.read("/0", 1, 1)
        assert len(label_studio.seen) == 6


# -- failures, in words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "answered 403. It does not allow"),
        (404, "answered 404. There is no picture"),
        (500, "answered 500. Ask the admin to run phraseclick doctor."),
    ],
)
def test_the_status_of_a_host_is_reported(
    status: int, words: str, pictures: Pictures, label_studio: Site
) -> None:
    label_studio.give("/a.png", b"no", status)

    with pytest.raises(PictureFetchError) as caught:
        pictures.read("/a.png", 1, 1)

    assert words in str(caught.value)
    assert isinstance(caught.value, PictureAwayError) is (status >= 500), "it may be back"


@pytest.mark.parametrize("dead", ["401", "log-in page"])
def test_an_invalid_token_is_reported_as_the_cause(
    dead: str, pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    # given Label Studio as it treats strangers: in its API, and on its pages
    if dead == "401":
        label_studio.give("/a.png", b'{"detail": "no"}', 401)
    else:
        label_studio.send_on("/a.png", "/user/login/?next=/a.png")
        label_studio.give("/user/login/", b"<html>")

    with pytest.raises(PictureAwayError, match="Create a personal access token"):
        pictures.read("/a.png", 1, 1)


def test_an_unreachable_host_is_reported(new_pictures: NewPictures) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    with pytest.raises(PictureAwayError, match="cannot be reached"):
        new_pictures(label_studio_url=f"http://127.0.0.1:{port}").read("/a.png", 1, 1)


def test_a_broken_download_is_reported_and_not_cached(
    pictures: Pictures, label_studio: Site, png: bytes
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(png)))
        handler.end_headers()
        handler.wfile.write(png[:50])

    label_studio.pages["/a.png"] = answer
    with pytest.raises(PictureFetchError, match="broke off"):
        pictures.read("/a.png", 1, 1)

    label_studio.give("/a.png", png)
    assert pictures.read("/a.png", 1, 1).width == 40
