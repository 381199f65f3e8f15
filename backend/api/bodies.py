"""How large a request may be, how long it may take to arrive, and how many large ones at a time.

A body is refused before it is read where its announced length says so, and while it is read
otherwise. Large bodies share a budget of memory, because a parsed body takes about ten times its
size: twenty of 63 MiB took 4 GiB. Small ones, which clicks are, never wait for it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.api.refusal import read_rest, refusal
from backend.settings import MIB, Settings

# A labeling config and a token, in JSON that may write each character as six.
_SETUP_BYTES = 4 * MIB
# Forms of the dashboard and requests of scripts.
_OTHER_BYTES = MIB

# Clicks with a few masks are smaller than this and never wait.
_SMALL = 2 * MIB
_WAIT_S = 20.0
# A body must go on arriving, and must have arrived as a whole.
_SILENCE_S = 10.0
_WHOLE_S = 60.0

_BUSY = "Too many large requests at a time. Try again in a minute."
_SLOW = "The request's body did not arrive in time."


class BodyBudget:
    """Bytes of large bodies that are read and worked on at the same time."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._total = total
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Hold ``size`` bytes. Raises TimeoutError if they do not become free."""
        size = min(size, self._total)
        async with asyncio.timeout(_WAIT_S), self._changed:
            await self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            async with self._changed:
                self._free += size
                self._changed.notify_all()


class BodyLimit:
    """Ends a request whose body is too large (413), too slow (408), or one too many (503)."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._budget = BodyBudget(2 * max(settings.max_request_bytes, _SMALL))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, sentence = self._limit(scope["path"])
        headers = Headers(scope=scope)
        announced = headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() else 0
        if "transfer-encoding" in headers:
            size = most
        elif size > most:
            too_large = refusal(413, sentence, at_most=most, seconds=_SILENCE_S)
            await too_large(scope, receive, send)
            return
        if size <= _SMALL:
            await self._run(scope, receive, send, most, sentence)
            return
        try:
            async with self._budget.take(size):
                await self._run(scope, receive, send, most, sentence)
        except TimeoutError:
            await refusal(503, _BUSY, retry_after="60")(scope, receive, send)

    async def _run(
        self, scope: Scope, receive: Receive, send: Send, most: int, sentence: str
    ) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + _WHOLE_S
        received = 0
        whole = too_large = started = False

        async def counted() -> Message:
            nonlocal received, whole, too_large
            if whole:  # what comes next is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(min(ends, loop.time() + _SILENCE_S)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _SLOW, headers={"connection": "close"}) from None
            received += len(message.get("body", b""))
            if received > most:
                too_large = True
                raise HTTPException(413, sentence, headers={"connection": "close"})
            whole = not message.get("more_body", False)
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if too_large:  # a route refuses it, while the client is still sending
                    await read_rest(receive, most, _SILENCE_S)
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except HTTPException as error:  # of a guard that reads the body before any route does
            if started:
                raise
            # After a client that sends too slowly, or a body that was read, there is no waiting.
            left = 0 if whole or error.status_code == 408 else most
            await refusal(error.status_code, error.detail, at_most=left)(scope, receive, send)

    def _limit(self, path: str) -> tuple[int, str]:
        """The largest body of a route, and the sentence for a larger one."""
        largest = self._settings.max_request_bytes
        name, meant = "PHRASECLICK_MAX_REQUEST_BYTES", "if the task's masks really need it"
        if path == "/webhook" and self._settings.webhook_max_bytes < largest:
            largest = self._settings.webhook_max_bytes
            name, meant = "PHRASECLICK_WEBHOOK_MAX_BYTES", "if annotations really are that large"
        if path == "/setup":
            largest = min(largest, _SETUP_BYTES)
        elif path not in ("/predict", "/webhook"):
            largest = min(largest, _OTHER_BYTES)
        size = f"The request is larger than {largest / MIB:.3g} MiB."
        if path not in ("/predict", "/webhook"):
            return largest, size
        return largest, f"{size} Set {name} higher {meant}."


async def read_body(receive: Receive, at_most: int) -> bytes:
    """The request's body; empty if it is longer than ``at_most``, or broke off."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > at_most or message["type"] == "http.disconnect":
            return b""
        if not message.get("more_body", False):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Returns a body that was read already."""
    handed_out = False

    async def again() -> Message:
        nonlocal handed_out
        if handed_out:
            return await receive()
        handed_out = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
