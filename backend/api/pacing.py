"""Requests that are refused or fail take turns, so that a flood of them leaves time for clicks.

Each costs some milliseconds of the interpreter that all threads share. Those who send them again
and again, as fast as they are answered, would take most of it. So the answers come at a steady
rate: at once where failures are rare, and later the more there are. Larger requests count more.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# In the scope of a request that is answered with 200, but failed.
FAILED = "phraseclick.failed"

# Ten failures or 16 MiB a second: as many as twenty annotators whose clicks all fail. Those of two
# seconds are answered at once.
_EACH_S = 1 / 10
_BYTE_S = 1 / (16 << 20)
_AT_ONCE_S = 2.0
# No answer waits longer.
_LONGEST_S = 10.0


class Paced:
    """Delays answers that refuse or failed. ``/health`` is never delayed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._paid_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def paced(message: Message) -> None:
            if message["type"] == "http.response.start" and (
                message["status"] >= 400 or FAILED in scope
            ):
                await asyncio.sleep(self._delay(received))
            await send(message)

        await self._app(scope, counted, paced)

    def _delay(self, received: int) -> float:
        """Seconds until the turn of a request of this size."""
        now = asyncio.get_running_loop().time()
        cost = _EACH_S + received * _BYTE_S
        paid_until = max(self._paid_until, now - _AT_ONCE_S) + cost
        self._paid_until = min(paid_until, now + _LONGEST_S)
        return max(0.0, self._paid_until - now)
