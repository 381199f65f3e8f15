"""Logs: one format for every process, no secret in any line, and no line that a caller forged.

Names, addresses and messages come from outside. A line break or an escape code in them would start
a line of its own or repaint the terminal, so control characters are written as ``\\x1b``.
"""

import copy
import json
import logging
import logging.config
import re
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from cachetools import LRUCache

from backend.settings import LogFormat, Settings

_SHAPES = (
    re.compile(r"(?i)\b((?:bearer|token|basic)\s+)[\w.+/=~-]{8,}"),
    re.compile(
        r"(?i)([\"']?\b(?:access_token|refresh|token|password|secret|api_key|x-amz-\w+|sig|signature)"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
    ),
    # Bounded, else each letter of a long word would be tried as the beginning of a scheme.
    re.compile(r"(\w{1,20}://[^/\s:@]{0,200}:)[^@/\s]{1,500}(?=@)"),
)
# Tokens that callers announced: only what has the form of one, so that nobody blots out words of
# later lines, and only the newest, since every line is searched for each of them.
_TOKEN = re.compile(r"[0-9a-fA-F]{40}|[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")
_MAX_TOKEN = 4_000
# C0 and C1 control characters, the separators that some viewers break lines at, and halves of
# characters, which no stream writes.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MAX_MESSAGE = 2_000
_MAX_TRACEBACK = 20_000

_known: set[str] = set()
_tokens: LRUCache[str, bool] = LRUCache(100)
_lock = threading.Lock()


def hide(*secrets: str) -> None:
    """Never let these values, which an admin chose, be seen in a log of this process."""
    # A value of a few letters would blacken half of every line and guards nothing anyway.
    _known.update(secret for secret in secrets if len(secret) >= 6)


def hide_token(token: str) -> None:
    """Hide a token that a caller announced, if it has the form of Label Studio's tokens."""
    if len(token) <= _MAX_TOKEN and _TOKEN.fullmatch(token):
        with _lock:
            _tokens[token] = True


def hidden(text: str) -> str:
    """The text with every known secret, and what looks like one, replaced by ``***``."""
    with _lock:
        tokens = tuple(_tokens)
    for secret in (*_known, *tokens):
        text = text.replace(secret, "***")
    for shape in _SHAPES:
        text = shape.sub(r"\1***", text)
    return text


def cut(text: str, most: int = _MAX_MESSAGE) -> str:
    """The text, shortened: callers choose how long names and messages are."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text)} characters)"


def escaped(text: str) -> str:
    """The text in one line: control characters as ``\\n`` or ``\\x1b``."""
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], text)


def escaped_lines(text: str) -> str:
    """The text with its line breaks, and its other control characters as in `escaped`."""
    return "\n".join(map(escaped, text.split("\n")))


class DiscreetFormatter(logging.Formatter):
    """A log line without secrets and control characters; the lines of a traceback are indented."""

    def format(self, record: logging.LogRecord) -> str:
        own = copy.copy(record)
        own.msg, own.args = escaped(hidden(cut(record.getMessage()))), None
        own.exc_text = None  # another formatter's
        return super().format(own)

    def formatException(  # noqa: N802 - logging's name
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None]
        | tuple[None, None, None],
    ) -> str:
        # Not splitlines, which also splits at characters that only some viewers break lines at.
        lines = hidden(cut(super().formatException(ei), _MAX_TRACEBACK)).split("\n")
        return "\n".join(f"  | {escaped(line)}" for line in lines)


def hide_settings(settings: Settings) -> None:
    hide(
        settings.label_studio_token.get_secret_value(),
        settings.basic_auth_password.get_secret_value(),
        settings.webhook_secret.get_secret_value(),
    )


class JsonFormatter(logging.Formatter):
    """One JSON object per line, without secrets: time, level, logger, process, message, error.

    Line breaks and other control characters are escaped as JSON does it, all of them.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": hidden(cut(record.getMessage())),
        }
        if record.exc_info:
            error = logging.Formatter.formatException(self, record.exc_info)
            line["error"] = hidden(cut(error, _MAX_TRACEBACK))
        text = json.dumps(line, ensure_ascii=False)
        # json leaves DEL, C1 and Unicode's separators as they are.
        return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


_TALKATIVE = ("amqp", "asyncio", "botocore", "celery", "fsspec", "kombu", "matplotlib", "PIL")
_FORMATTERS: dict[LogFormat, dict[str, Any]] = {
    "text": {
        "()": "backend.logs.DiscreetFormatter",
        "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
    },
    "json": {"()": "backend.logs.JsonFormatter"},
}


def log_config(settings: Settings) -> dict[str, Any]:
    """Every line in the format of the settings, through a formatter that hides secrets."""
    level = settings.log_level.upper()
    # Libraries that log every step at the level debug would hide this project's lines.
    of_libraries = "INFO" if level == "DEBUG" else level
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": _FORMATTERS[settings.log_format]},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            **{name: {"level": level} for name in ("uvicorn", "uvicorn.access")},
            **{name: {"level": of_libraries} for name in _TALKATIVE},
        },
    }


def log_to_stderr(settings: Settings) -> None:
    hide_settings(settings)
    logging.config.dictConfig(log_config(settings))
    logging.captureWarnings(True)
