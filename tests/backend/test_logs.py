"""Logs: the level and the format of the settings, and no secret in either format."""

import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from backend.logs import JsonFormatter, hide, log_config
from backend.settings import Settings


def record(message: str, **options: Any) -> logging.LogRecord:
    fields = {"name": "backend.x", "levelname": "WARNING", "levelno": 30, "msg": message, **options}
    return logging.makeLogRecord(fields)


def test_a_json_line_has_time_level_logger_and_message() -> None:
    line = json.loads(JsonFormatter().format(record("two\nlines of %s", args=("ü",))))

    assert line["message"] == "two\nlines of ü"
    assert (line["level"], line["logger"]) == ("warning", "backend.x")
    assert line["time"].endswith("+00:00")
    assert "error" not in line


def test_a_line_of_json_holds_the_traceback_and_no_secret() -> None:
    # given
    hide("correct-horse")
    try:
        raise ValueError("correct-horse was wrong")
    except ValueError:
        failed = record("login with correct-horse", exc_info=sys.exc_info())
    # when
    text = JsonFormatter().format(failed)
    # then
    assert "correct-horse" not in text
    line = json.loads(text)
    assert "ValueError: *** was wrong" in line["error"]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_the_level_holds_for_this_project_and_for_the_server(level: str) -> None:
    config = log_config(Settings(log_level=level))

    assert config["root"]["level"] == level.upper()
    assert config["loggers"]["uvicorn.access"]["level"] == level.upper()


def test_libraries_are_silent_at_the_level_debug() -> None:
    assert log_config(Settings(log_level="debug"))["loggers"]["kombu"]["level"] == "INFO"


def test_every_line_of_a_process_is_json() -> None:
    # given a process that logs, warns, and lets another library log
    script = (
        "import logging, warnings\n"
        "from backend import logs\n"
        "from backend.settings import Settings\n"
        "logs.log_to_stderr(Settings(log_format='json'))\n"
        "logging.getLogger('backend').info('one')\n"
        "warnings.warn('two')\n"
        "logging.getLogger('uvicorn.error').error('three')\n"
        "logging.getLogger('backend').debug('not shown')\n"
    )
    # when
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    # then
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
