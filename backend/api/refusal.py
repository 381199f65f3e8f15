"""The answer to a request that a guard refuses."""

import asyncio
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

# More of a refused body is not read: it takes no memory, but time.
_READ_BYTES = 1 << 20
_READ_S = 5.0


class Refusal(JSONResponse):
    """A sentence, after which the connection ends, since not all of the body may have been read.

    First the rest of the body is read and dropped, within bounds: a connection that is closed over
    unread bytes is reset, and the client, which may still be sending, loses the sentence.
    """

    def __init__(self, *args: Any, at_most: int, seconds: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._at_most = at_most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        await read_rest(receive, self._at_most, self._seconds)
        await super().__call__(scope, receive, send)


async def read_rest(receive: Receive, at_most: int = _READ_BYTES, seconds: float = _READ_S) -> None:
    """Read and drop the rest of a body, within bounds."""
    left = at_most
    try:
        async with asyncio.timeout(seconds):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    break
                left -= len(message.get("body", b""))
    except TimeoutError:
        pass


def refusal(
    status: int,
    sentence: str,
    *,
    at_most: int = _READ_BYTES,
    seconds: float = _READ_S,
    **headers: str,
) -> Refusal:
    """A refusal with this status and sentence.

    at_most, seconds: of the rest of the body; 0 bytes where it was read. headers: further ones,
    with ``_`` for ``-``.
    """
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(
        {"detail": sentence},
        status,
        headers={"connection": "close", **more},
        at_most=at_most,
        seconds=seconds,
    )
