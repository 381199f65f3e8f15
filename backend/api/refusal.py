"""The answer to a request that a guard refuses."""

import asyncio

from starlette.responses import JSONResponse
from starlette.types import Receive

# More of a refused body is not read: it takes no memory, but time.
_READ_BYTES = 1 << 20
_READ_S = 5.0


def refusal(status: int, sentence: str, **headers: str) -> JSONResponse:
    """A sentence, after which the connection ends: a refused body may not have been read.

    headers: further ones, with ``_`` for ``-``.
    """
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"detail": sentence}, status, headers={"connection": "close", **more})


async def read_on(
    receive: Receive, at_most: int = _READ_BYTES, *, seconds: float = _READ_S
) -> None:
    """Read and drop the rest of a refused body, within bounds. Call it before the answer.

    A connection that is closed over unread bytes is reset, and the client, which may still be
    sending, loses the sentence.
    """
    left = at_most
    try:
        async with asyncio.timeout(seconds):
            while left > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
                left -= len(message.get("body", b""))
    except TimeoutError:
        return
