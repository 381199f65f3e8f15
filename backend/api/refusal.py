"""The answer to a request that a guard refuses."""

from starlette.responses import JSONResponse


def refusal(status: int, sentence: str, **headers: str) -> JSONResponse:
    """A sentence, after which the connection ends: a refused body may not have been read.

    headers: further ones, with ``_`` for ``-``.
    """
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"detail": sentence}, status, headers={"connection": "close", **more})
