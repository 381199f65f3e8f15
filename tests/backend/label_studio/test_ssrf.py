"""Which addresses may be connected to, and that a time limit holds for the whole."""

import socket
import time

import pytest
import requests

from backend.errors import LabelStudioError
from backend.label_studio.ssrf import Deadline, is_private, is_public, read_address, why


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.178.1",
        "169.254.169.254",  # a cloud's metadata
        "100.64.0.1",  # carrier-grade NAT
        "0.0.0.0",
        "0.1.2.3",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:c0a8:101::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo for 127.0.0.1
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:2800:220:1:248:1893:25c8:1946",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.timed
def test_a_deadline_wakes_a_blocked_socket() -> None:
    # given a connection on which nothing ever comes
    here, there = socket.socketpair()
    start = time.monotonic()

    with here, there, Deadline(0.2) as deadline:
        deadline.watch(here)
        answer = here.recv(1)

    assert answer == b""
    assert deadline.passed
    assert time.monotonic() - start < 2


def test_a_deadline_shuts_a_socket_that_is_added_too_late() -> None:
    here, there = socket.socketpair()

    with here, there, Deadline(0.01) as deadline:
        time.sleep(0.1)
        deadline.watch(here)

        assert here.recv(1) == b""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (requests.Timeout(), "it did not answer in time"),
        (
            requests.exceptions.SSLError("… CERTIFICATE_VERIFY_FAILED …"),
            "its certificate is not trusted",
        ),
        (
            requests.exceptions.SSLError("… WRONG_VERSION_NUMBER …"),
            "no encrypted connection could be made: does it answer http:// instead?",
        ),
        (requests.ConnectionError("… NameResolutionError: Failed …"), "its host name is unknown"),
        (requests.exceptions.InvalidURL(), "its address is not valid"),
    ],
)
def test_why_there_was_no_answer(error: Exception, words: str) -> None:
    assert why(error) == words


def test_private_addresses() -> None:
    assert is_private("http://127.0.0.1:9090") is True
    assert is_private("http://10.0.0.7") is True
    assert is_private("http://8.8.8.8") is False
    assert is_private("http://no-such-host.invalid") is None


def test_an_address_of_the_backend_is_read_as_label_studios() -> None:
    assert read_address(" 127.0.0.1:9090/user/ ", backend=True) == "http://127.0.0.1:9090/user"


@pytest.mark.parametrize(
    "url", ["", "http://[::1", "http://u:p@host", "http://host?x", "ftp://host", "http://h\udcff"]
)
def test_what_cannot_be_an_address_of_the_backend_is_refused(url: str) -> None:
    with pytest.raises(LabelStudioError, match="--backend-url"):
        read_address(url, backend=True)
