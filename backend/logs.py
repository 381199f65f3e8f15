"""Logs: one format for every process, and no secret in any line."""

import logging
import logging.config
import re
from typing import Any

from backend.settings import Settings

_SHAPES = (
    re.compile(r"(?i)\b((?:bearer|token|basic)\s+)[\w.+/=~-]{8,}"),
    re.compile(
        r"(?i)([\"']?\b(?:access_token|refresh|token|password|secret|api_key|x-amz-\w+|sig|signature)"
        r"[\"']?\s*[=:]\s*[\"']?)[^\s\"'&,;}]+"
    ),
    re.compile(r"(\w+://[^/\s:@]*:)[^@/\s]+(?=@)"),
)
_known: set[str] = set()


def hide(*secrets: str) -> None:
    """Never let these values be seen in a log of this process."""
    # A value of a few letters would blacken half of every line and guards nothing anyway.
    _known.update(secret for secret in secrets if len(secret) >= 6)


def hidden(text: str) -> str:
    """The text with every known secret, and all that looks like one, replaced by ***."""
    for secret in tuple(_known):
        text = text.replace(secret, "***")
    for shape in _SHAPES:
        text = shape.sub(r"\1***", text)
    return text


class DiscreetFormatter(logging.Formatter):
    """A log line without secrets; tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return hidden(super().format(record))


def hide_settings(settings: Settings) -> None:
    """Keep the settings' own secrets out of the logs."""
    hide(
        settings.label_studio_token.get_secret_value(),
        settings.basic_auth_password.get_secret_value(),
        settings.webhook_secret.get_secret_value(),
    )


def log_config() -> dict[str, Any]:
    """One format for every line, through the formatter that hides secrets."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "discreet": {
                "()": "backend.logs.DiscreetFormatter",
                "fmt": "%(asctime)s %(levelname)s %(name)s: %(message)s",
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "discreet",
                "stream": "ext://sys.stderr",
            }
        },
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {name: {"level": "INFO"} for name in ("uvicorn", "uvicorn.access")},
    }


def log_to_stderr(settings: Settings) -> None:
    """The same log for the other commands that run long."""
    hide_settings(settings)
    logging.config.dictConfig(log_config())
