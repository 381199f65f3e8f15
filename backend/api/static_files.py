"""Static files from memory.

Starlette reads a file on threads, block by block: four changes of threads for each request, also of
clients that never read their answer. A burst of those kept clicks waiting for a second.
"""

import mimetypes
from collections.abc import AsyncIterator
from functools import cache
from hashlib import blake2b
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

# Of an answer that is not read, no more than this is copied for its connection.
_BLOCK = 64 * 1024


class StaticFiles:
    """An ASGI application with the files of some small folders, each read once."""

    def __init__(self, *folders: Path) -> None:
        paths = (path for folder in folders for path in folder.iterdir())
        self._files = {path.name: path for path in paths if path.is_file()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._response(scope)(scope, receive, send)

    def _response(self, scope: Scope) -> Response:
        name = scope["path"].rpartition("/")[2]
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        if name not in self._files:
            raise HTTPException(404)
        content, etag = _read(self._files[name])
        headers = {"etag": etag, "content-length": str(len(content))}
        if Headers(scope=scope).get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        kind = mimetypes.guess_type(name)[0]
        if scope["method"] == "HEAD":
            return Response(headers=headers, media_type=kind)
        return StreamingResponse(_blocks(content), headers=headers, media_type=kind)


async def _blocks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _BLOCK):
        yield content[start : start + _BLOCK]


@cache
def _read(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{blake2b(content, digest_size=16).hexdigest()}"'
