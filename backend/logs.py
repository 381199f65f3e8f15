"""Logs: one format for every process, and no secret in any line."""

import json
import logging
import logging.config
import re
from datetime import UTC, datetime
from typing import Any

from backend.settings import LogFormat, Settings

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


class JsonFormatter(logging.Formatter):
    """One JSON object per line, without secrets: time, level, logger, process, message, error."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": hidden(record.getMessage()),
        }
        if record.exc_info:
            line["error"] = hidden(logging.Formatter.formatException(self, record.exc_info))
        return json.dumps(line, ensure_ascii=False)


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
        # Libraries that log every step at the level debug would hide this project's lines.
        "loggers": {
            **{name: {"level": level} for name in ("uvicorn", "uvicorn.access")},
            **{name: {"level": _at_least_info(level)} for name in _TALKATIVE},
        },
    }


_TALKATIVE = ("amqp", "asyncio", "botocore", "celery", "fsspec", "kombu", "matplotlib", "PIL")


def _at_least_info(level: str) -> str:
    return "INFO" if level == "DEBUG" else level


def log_to_stderr(settings: Settings) -> None:
    """Set up the log of this process."""
    hide_settings(settings)
    logging.config.dictConfig(log_config(settings))
    logging.captureWarnings(True)
