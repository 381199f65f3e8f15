"""Tests marked ``anyio`` run on asyncio alone, as uvicorn does."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
