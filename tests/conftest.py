"""Quick tests first: whoever broke something is told within seconds, not after the browser."""

import signal

import pytest

from tests.browser import browser

# A fixture of another file.
__all__ = ["browser"]

# A shell that starts the tests in the background has its children ignore Ctrl-C, and so would every
# program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # some folders mark their tests slow as a whole
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
