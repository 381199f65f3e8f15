"""In which order tests run, and which of them in one process."""

import signal

import pytest

from tests.browser import browser

# A fixture of another file.
__all__ = ["browser"]

# A shell that starts the tests in the background has its children ignore Ctrl-C, and so would every
# program that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests that share a Label Studio, and those that take longest: they begin first.
TOGETHER = ("tests/e2e", "tests/backend/cli/connecting")
LONGEST = ("tests/e2e", "tests/backend/learning")


@pytest.hookimpl(trylast=True)  # some folders mark their tests slow as a whole
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick ones first; each file, apart from what is slow in it, in one process."""
    order = {}
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        file = item.nodeid.partition("::")[0]
        shared = next((folder for folder in TOGETHER if file.startswith(folder)), file)
        item.add_marker(pytest.mark.xdist_group(f"{shared} slow" if slow else file))
        order[item] = (slow, slow and not file.startswith(LONGEST))
    items.sort(key=order.__getitem__)
