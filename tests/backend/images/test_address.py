"""Each address in a task is understood, or refused with a sentence."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import PictureAddressError
from backend.images.address import parse, shown
from backend.label_studio.client import LabelStudio
from backend.label_studio.ssrf import origin_of

STUDIO = LabelStudio("http://studio:8080", "token", also_at="http://localhost:8080")

pieces = st.sampled_from(
    [*"/:@?#\\%[]. &=", "http", "https", "s3", "data", "//", "studio:8080", "localhost:8080", "..",
     "evil.example", "/data/upload/", "/data/local-files/?d=", "%2e%2e", "%00", "é", "127.0.0.1"]
)  # fmt: skip
addresses = st.one_of(st.text(max_size=60), st.lists(pieces, max_size=12).map("".join))


@settings(deadline=None, max_examples=500)
@given(addresses)
def test_any_text_is_parsed_or_refused(address: str) -> None:
    try:
        place = parse(address, STUDIO, 7)
    except PictureAddressError:
        return
    # then what is not taken from Label Studio's own host is a web address or inline
    for route in place.routes:
        if place.kind not in ("web", "inline"):
            assert origin_of(route) == ("http", "studio", 8080)
    assert place.identity


@pytest.mark.parametrize("start", ["/data/local-files/?d=", "http://a.example/", "s3://b/", ""])
def test_an_address_longer_than_any_browser_takes_is_refused(start: str) -> None:
    with pytest.raises(PictureAddressError, match="too long"):
        parse(start + "a/" * 5_000_000, STUDIO, 7)
    assert parse("data:image/png;base64," + "A" * 100_000, STUDIO, 7).kind == "inline"


@settings(deadline=None)
@given(addresses)
def test_a_shown_address_has_no_query_and_no_password(address: str) -> None:
    text = shown(f"http://user:hunter2@host/a?sig=abcdef{address.replace('/', '')}")

    assert "hunter2" not in text
    assert "abcdef" not in text
    assert len(text) <= 120


@pytest.mark.parametrize(
    ("address", "kind", "path"),
    [
        ("/data/upload/3/a.png", "upload", "/data/upload/3/a.png"),
        ("http://localhost:8080/data/upload/3/a.png", "upload", "/data/upload/3/a.png"),
        ("/data/local-files/?d=a/b.png", "local", "/data/local-files/"),
        ("http://studio:8080/data/local-files?d=a/b.png", "local", "/data/local-files"),
        ("s3://bucket/a.png", "cloud", "/tasks/7/presign/"),
        ("GS://bucket/a.png", "cloud", "/tasks/7/presign/"),
        ("azure-spi://container/a.png", "cloud", "/tasks/7/presign/"),
        ("dbfs:/volumes/a.png", "cloud", "/tasks/7/presign/"),
        ("/data/local-files/?d=a\\b.png", "local", "/data/local-files/"),
        ("\\data\\upload\\3\\a.png", "upload", "/data/upload/3/a.png"),
        ("//cdn.example/a.png", "web", "/a.png"),
        ("http:\\\\cdn.example\\a.png", "web", "/a.png"),
        ("https://cdn.example\n/a\t.png", "web", "/a.png"),
        ("/tasks/7/resolve/?fileuri=abc", "host", "/tasks/7/resolve/"),
        ("static/a.png", "host", "/static/a.png"),
        ("http://studio:8081/data/upload/3/a.png", "web", "/data/upload/3/a.png"),
        ("https://cdn.example/a.png", "web", "/a.png"),
    ],
)
def test_kinds_of_addresses(address: str, kind: str, path: str) -> None:
    place = parse(address, STUDIO, 7)

    assert place.kind == kind
    assert urlsplit(place.routes[-1]).path == path
