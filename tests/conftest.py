"""Quick tests first: whoever broke something is told within seconds, not after the browser."""

import pytest


@pytest.hookimpl(trylast=True)  # some folders mark their tests slow as a whole
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
