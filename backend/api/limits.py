"""How large, how slow and how frequent requests may be, and the answer to one that is refused.

A body is refused before it is read where its announced length says so, and while it is read
otherwise. Large bodies share a budget of memory, because a parsed body takes about ten times its
size: twenty of 63 MiB took 4 GiB. Small ones, which clicks are, never wait for it.

Requests that are refused or fail take turns, so that a flood of them leaves time for clicks. Each
costs some milliseconds of the interpreter that all threads share. Those who send them again and
again, as fast as they are answered, would take most of it. So the answers come at a steady rate: at
once where failures are rare, and later the more there are. Larger requests count more.
"""

import asyncio
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.label_studio.credentials import SECRET_HEADER
from backend.settings import MIB, Settings

# A labeling config and a token, in JSON that may write each character as six.
_SETUP_BYTES = 4 * MIB
# A START_TRAINING holds a project with its labeling config, never a mask.
_START_TRAINING_BYTES = 2 * MIB
# Forms of the dashboard and requests of scripts.
_OTHER_BYTES = MIB

# Clicks with a few masks are smaller than this and never wait.
_SMALL = 2 * MIB
# Reading a MiB takes some 5 ms of the thread that answers everyone. Label Studio waits one second
# for a webhook, of which the largest have some 20 MiB: two of these never wait.
_BYTES_A_SECOND = 8 * MIB
_AT_FULL_SPEED = 40 * MIB
_WAIT_S = 20.0
# A body must go on arriving, and must have arrived as a whole.
_SILENCE_S = 10.0
_WHOLE_S = 60.0

# More of a refused body is not read: it takes no memory, but time.
_READ_BYTES = MIB
_READ_S = 5.0

_BUSY = "Too many large requests at a time. Try again in a minute."
_SLOW = "The request's body did not arrive in time."
WRONG_SECRET = (
    f"The webhook's {SECRET_HEADER} header is missing or wrong. Run phraseclick connect again."
)
# A browser that gets this with a 401 asks for user and password.
BASIC = 'Basic realm="PhraseClick"'

# In the scope of a webhook that came without its secret: it may only start a training.
ONLY_START_TRAINING = "phraseclick.only_start_training"
# In the scope of a request that is answered with 200, but failed.
FAILED = "phraseclick.failed"

# Ten failures or 16 MiB a second: as many as twenty annotators whose clicks all fail. Those of two
# seconds are answered at once.
_EACH_S = 1 / 10
_BYTE_S = 1 / (16 << 20)
_AT_ONCE_S = 2.0
# No answer waits longer.
_LONGEST_S = 10.0


class Refusal(JSONResponse):
    """A sentence, after which the connection ends, since not all of the body may have been read.

    First the rest of the body is read and dropped, within bounds: a connection that is closed over
    unread bytes is reset, and the client, which may still be sending, loses the sentence.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        at_most: int = _READ_BYTES,
        seconds: float = _READ_S,
        **headers: str,
    ) -> None:
        """at_most, seconds: of the rest of the body. headers: others, with ``_`` for ``-``."""
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__({"detail": sentence}, status, headers={"connection": "close", **more})
        self._at_most = at_most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _read_rest(receive, self._at_most, self._seconds)
        await super().__call__(scope, receive, send)


async def _read_rest(receive: Receive, at_most: int, seconds: float) -> None:
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


def unauthorized(sentence: str) -> Refusal:
    return Refusal(401, sentence, www_authenticate=BASIC)


class BodyBudget:
    """Bytes of large bodies that are read and worked on at the same time.

    Only what has arrived counts: by announcing a size and sending next to nothing, a client would
    keep others out. The oldest body always finds room, so that bodies never wait for each other.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._free = 2 * largest
        self._held: dict[object, int] = {}  # the oldest first
        self._read_until = 0.0
        self._changed = asyncio.Condition()

    async def hold(self, body: object, received: int) -> None:
        """Have a body hold as many bytes. Raises TimeoutError if they do not become free."""
        more = min(received, self._largest) - self._held.setdefault(body, 0)
        async with asyncio.timeout(_WAIT_S), self._changed:
            await self._changed.wait_for(lambda: self._fits(body, more))
            self._held[body] += more
            self._free -= more

    async def slow_down(self, size: int) -> None:
        """Wait so that all large bodies together are read at a bounded rate, after the first."""
        now = asyncio.get_running_loop().time()
        earliest = now - _AT_FULL_SPEED / _BYTES_A_SECOND
        self._read_until = max(self._read_until, earliest) + size / _BYTES_A_SECOND
        await asyncio.sleep(max(0.0, self._read_until - now))

    async def release(self, body: object) -> None:
        """Give back what a body holds, if anything."""
        if body in self._held:
            async with self._changed:
                self._free += self._held.pop(body)
                self._changed.notify_all()

    def _fits(self, body: object, more: int) -> bool:
        oldest, held = next(iter(self._held.items()))
        return body is oldest or more <= self._free - (self._largest - held)


@dataclass(frozen=True)
class _Limit:
    """The largest body of a request, and the answer to a larger one."""

    most: int
    status: int
    sentence: str

    @classmethod
    def of(cls, scope: Scope, settings: Settings) -> "_Limit":
        path, most, advice = scope["path"], settings.max_request_bytes, ""
        if ONLY_START_TRAINING in scope:
            return cls(min(most, _START_TRAINING_BYTES), 401, WRONG_SECRET)
        if path == "/webhook" and settings.webhook_max_bytes < most:
            most = settings.webhook_max_bytes
            advice = " Set PHRASECLICK_WEBHOOK_MAX_BYTES higher if annotations really are so large."
        elif path in ("/predict", "/webhook"):
            advice = " Set PHRASECLICK_MAX_REQUEST_BYTES higher if the masks really need it."
        else:
            most = min(most, _SETUP_BYTES if path == "/setup" else _OTHER_BYTES)
        return cls(most, 413, f"The request is larger than {most / MIB:.3g} MiB.{advice}")


class BodyLimit:
    """Ends a request whose body is too large (413), too slow (408), or one too many (503)."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._settings = settings
        self._budget = BodyBudget(max(settings.max_request_bytes, _SMALL))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = _Limit.of(scope, self._settings)
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced) > limit.most:
            too_large = Refusal(
                limit.status, limit.sentence, at_most=limit.most, seconds=_SILENCE_S
            )
            await too_large(scope, receive, send)
            return
        body = object()
        try:
            await self._app(scope, self._counted(receive, limit, body), send)
        finally:
            await self._budget.release(body)

    def _counted(self, receive: Receive, limit: _Limit, body: object) -> Receive:
        """``receive``, which raises HTTPException for a body that is too large or too slow, or for
        which there is no room."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _WHOLE_S
        received = 0
        whole = False

        async def counted() -> Message:
            nonlocal received, whole
            if whole:  # what comes next is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(min(ends, loop.time() + _SILENCE_S)):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, _SLOW, headers={"connection": "close"}) from None
            received += len(message.get("body", b""))
            if received > limit.most:
                if message.get("more_body"):
                    await _read_rest(receive, limit.most, _SILENCE_S)
                raise HTTPException(limit.status, limit.sentence, headers={"connection": "close"})
            whole = not message.get("more_body", False)
            if received > _SMALL:
                try:
                    await self._budget.hold(body, received)
                    await self._budget.slow_down(len(message.get("body", b"")))
                except TimeoutError:
                    busy = {"connection": "close", "retry-after": "60"}
                    raise HTTPException(503, _BUSY, headers=busy) from None
            return message

        return counted


class Paced:
    """Delays answers that refuse or failed. ``/health`` is never delayed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._paid_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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
