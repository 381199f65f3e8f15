"""Private networks cannot be reached by any name or redirect; https is checked by name."""

import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backend.errors import (
    PictureAddressError,
    PictureError,
    PictureFetchError,
)
from backend.images.loader import Pictures
from tests.backend.images.conftest import NewPictures, NewSite, Site

real_getaddrinfo = socket.getaddrinfo


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.1",
        "0",
        "0.0.0.0",
        "127。0。0。1",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:7f00:0001]",
    ],
)
def test_no_spelling_of_this_machine_is_connected_to(
    host: str, pictures: Pictures, new_site: NewSite, png: bytes
) -> None:
    # given a server beside Label Studio
    site = new_site()
    site.give("/a.png", png)

    with pytest.raises(PictureError):
        pictures.read(f"http://{host}:{site.port}/a.png", 1, 1)

    assert site.seen == []


@pytest.mark.timed
@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest/meta-data/", "http://10.0.0.1/a", "http://[fd00::1]/"],
)
def test_private_networks_are_refused_with_advice(address: str, pictures: Pictures) -> None:
    start = time.monotonic()

    with pytest.raises(PictureAddressError, match="PHRASECLICK_ALLOW_PRIVATE_ADDRESSES"):
        pictures.read(address, 1, 1)

    assert time.monotonic() - start < 1


def test_a_redirect_into_a_private_network_is_refused(
    pictures: Pictures, label_studio: Site, new_site: NewSite, png: bytes
) -> None:
    # given Label Studio itself, which is always allowed, that sends on to a private address
    inside = new_site()
    inside.give("/secret.png", png)
    label_studio.send_on("/api/picture", f"{inside.url}/secret.png")

    with pytest.raises(PictureAddressError):
        pictures.read("/api/picture", 1, 1)

    assert label_studio.paths == ["/api/picture"]
    assert inside.seen == []


@pytest.mark.timed
@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166"]
)
def test_a_link_local_address_cannot_be_announced_as_label_studio(
    host: str, new_pictures: NewPictures
) -> None:
    # given a /setup that anyone may have sent
    pictures = new_pictures(label_studio_url=f"http://{host}")
    start = time.monotonic()

    with pytest.raises(PictureAddressError, match="private network"):
        pictures.read("/latest/meta-data/", 1, 1)

    assert time.monotonic() - start < 1


def test_a_redirect_to_another_kind_of_address_is_refused(
    pictures: Pictures, label_studio: Site
) -> None:
    label_studio.send_on("/api/picture", "file:///etc/passwd")

    with pytest.raises(PictureAddressError, match="http"):
        pictures.read("/api/picture", 1, 1)


def test_private_addresses_are_read_if_the_setting_allows_them(
    new_pictures: NewPictures, new_site: NewSite, png: bytes
) -> None:
    site = new_site()
    site.give("/a.png", png)

    picture = new_pictures(allow_private_addresses=True).read(f"{site.url}/a.png", 1, 1)

    assert (picture.width, picture.height) == (40, 24)


def test_a_name_that_resolves_to_a_private_address_is_refused(
    pictures: Pictures, new_site: NewSite, monkeypatch: pytest.MonkeyPatch, png: bytes
) -> None:
    # given a name server that leads a harmless name to this machine
    site = new_site()
    site.give("/a.png", png)
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **kw: real_getaddrinfo("127.0.0.1", port, **kw)
    )

    with pytest.raises(PictureAddressError):
        pictures.read(f"http://harmless.example:{site.port}/a.png", 1, 1)

    assert site.seen == []


def test_dns_rebinding_gains_nothing(
    new_pictures: NewPictures, new_site: NewSite, monkeypatch: pytest.MonkeyPatch, png: bytes
) -> None:
    # given a name server that says a public address first and this machine ever after
    site = new_site()
    site.give("/a.png", png)
    answers = iter(["93.184.216.34"])
    asked = []

    def rebind(host: str, port: int, **kw: Any) -> Any:
        asked.append(host)
        return real_getaddrinfo(next(answers, "127.0.0.1"), port, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", rebind)
    connected: list[Any] = []
    real_connect = socket.socket.connect
    monkeypatch.setattr(
        socket.socket,
        "connect",
        lambda sock, where: connected.append(where) or real_connect(sock, where),
    )

    with pytest.raises(PictureFetchError):
        new_pictures(picture_timeout_s=0.5).read(f"http://rebound.example:{site.port}/a.png", 1, 1)

    # then it was asked once, and that answer was connected to
    assert asked == ["rebound.example"]
    assert connected == [("93.184.216.34", site.port)]
    assert site.seen == []


def test_proxies_of_the_environment_are_not_used(
    pictures: Pictures,
    label_studio: Site,
    new_site: NewSite,
    monkeypatch: pytest.MonkeyPatch,
    png: bytes,
) -> None:
    proxy = new_site()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.setenv("no_proxy", "")
    label_studio.give("/a.png", png)

    pictures.read("/a.png", 1, 1)

    assert proxy.seen == []


def test_https_checks_the_certificate_against_the_name_and_not_the_checked_address(
    new_pictures: NewPictures, monkeypatch: pytest.MonkeyPatch, png: bytes
) -> None:
    # given an https server for pictures.example, which the name server leads to this machine
    certificate = str(Path(__file__).parent / "certificate.pem")
    names: list[str | None] = []
    hosts: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            self.send_response(200)
            self.send_header("Content-Length", str(len(png)))
            self.end_headers()
            self.wfile.write(png)

        def log_message(self, format: str, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port = server.server_address[1]
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, **kw: real_getaddrinfo("127.0.0.1", port, **kw)
    )
    pictures = new_pictures(allow_private_addresses=True)

    # when nobody vouches for the certificate, then it is refused
    with pytest.raises(PictureFetchError, match="not trusted"):
        pictures.read(f"https://pictures.example:{port}/a.png", 1, 1)
    # when an admin does, then the picture comes, but not under another name
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    picture = pictures.read(f"https://pictures.example:{port}/a.png", 1, 1)
    with pytest.raises(PictureFetchError, match="not trusted"):
        pictures.read(f"https://other.example:{port}/a.png", 1, 1)

    server.shutdown()
    server.server_close()
    assert picture.width == 40
    assert names[1] == "pictures.example"
    assert hosts == [f"pictures.example:{port}"]
