"""The order of tests, and which of them share a process."""

import signal

import pytest

from tests.browser import browser

# A fixture of another file.
__all__ = ["browser"]

# A shell makes background processes ignore Ctrl-C, which programs that a test interrupts inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Tests that share a Label Studio, and the longest ones, which start first.
TOGETHER = ("tests/e2e", "tests/backend/cli/connecting")
LONGEST = ("tests/e2e", "tests/backend/learning")


@pytest.hookimpl(trylast=True)  # some folders mark their tests slow as a whole
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first. Each file runs in one process, its slow tests in another."""
    order = {}
    for item in items:
        slow = item.get_closest_marker("slow") is not None
        file = item.nodeid.partition("::")[0]
        shared = next((folder for folder in TOGETHER if file.startswith(folder)), file)
        item.add_marker(pytest.mark.xdist_group(f"{shared} slow" if slow else file))
        order[item] = (slow, slow and not file.startswith(LONGEST))
    items.sort(key=order.__getitem__)
