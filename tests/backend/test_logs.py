"""Logs: the level and the format of the settings, and no secret in either format."""

import json
import logging
import subprocess
import sys
import time
from typing import Any

import pytest
from cachetools import LRUCache

from backend import logs
from backend.logs import DiscreetFormatter, JsonFormatter, hidden, hide, hide_token, log_config
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


@pytest.mark.parametrize("formatter", [DiscreetFormatter("%(message)s"), JsonFormatter()])
def test_a_known_secret_reaches_neither_a_line_nor_its_traceback(
    formatter: logging.Formatter,
) -> None:
    # given
    hide("correct-horse")
    try:
        raise ValueError("correct-horse was wrong")
    except ValueError:
        failed = record("login with %s", args=("correct-horse",), exc_info=sys.exc_info())
    # when
    text = formatter.format(failed)
    # then
    assert "correct-horse" not in text
    assert "login with ***" in text
    assert "ValueError: *** was wrong" in text


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("Authorization: Bearer eyJhbGciOi.abc.def", "eyJhbGciOi"),
        ("Authorization: Token 0123456789abcdef0123", "0123456789abcdef"),
        ('{"access_token": "0123456789abcdef"}', "0123456789abcdef"),
        ("GET /x?token=abcdef123456&y=1", "abcdef123456"),
        ("https://s3/x?X-Amz-Signature=deadbeefdeadbeef", "deadbeef"),
        ("postgresql://user:hunter22@db/phraseclick", "hunter22"),
    ],
)
def test_what_looks_like_a_secret_is_masked(line: str, secret: str) -> None:
    assert secret not in hidden(line)
    assert "***" in hidden(line)


def test_ordinary_lines_stay_as_they_are() -> None:
    line = "POST /predict 200 in 43 ms: 3 clicks on http://127.0.0.1:8080/data/upload/1/a.png"

    assert hidden(line) == line


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


# Line breaks, escape codes of terminals (C0 and C1), DEL, and characters that some viewers break
# lines at or turn the direction of text with.
FORGED = "a\r\nb\x0b\x0c\x1b[2Kc\x07\x7f\x85\x9b31m\u2028d\u2029\u202ee\u2066f"


@pytest.mark.parametrize("formatter", [DiscreetFormatter("%(message)s"), JsonFormatter()])
def test_no_name_forges_a_line_or_reaches_the_terminal(formatter: logging.Formatter) -> None:
    # given a caller's text in a message, its arguments and the text of an error
    try:
        raise ValueError(FORGED)
    except ValueError:
        failed = record("%s", args=(FORGED,), exc_info=sys.exc_info())
    # when
    text = formatter.format(failed)
    # then
    lines = text.split("\n")
    assert not [c for line in lines for c in line if not c.isprintable()]
    assert all(line.startswith("  | ") for line in lines[1:])


def test_json_holds_the_text_as_it_was() -> None:
    assert json.loads(JsonFormatter().format(record("%s", args=(FORGED,))))["message"] == FORGED


@pytest.mark.parametrize("formatter", [DiscreetFormatter("%(message)s"), JsonFormatter()])
@pytest.mark.parametrize("text", ["a", "token", "token ", "a://b:", "x-amz-", "secret:"])
def test_a_long_text_is_cut_and_takes_no_time(formatter: logging.Formatter, text: str) -> None:
    # given what a stranger can have the server log: the path of a request, or an error's text
    long = text * (2_000_000 // len(text))
    try:
        raise ValueError(long)
    except ValueError:
        failed = record("GET %s", args=(long,), exc_info=sys.exc_info())
    started = time.process_time()
    # when
    line = formatter.format(failed)
    # then
    assert time.process_time() - started < 0.5
    assert len(line) < 60_000
    assert len(formatter.format(record("GET %s", args=(long,)))) < 2_500


def test_only_what_has_the_form_of_a_token_is_blotted_out_and_only_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given words, short and huge values announced as tokens
    monkeypatch.setattr(logs, "_tokens", LRUCache(100))
    for value in ("training", "", "labels and masks", "x" * 5_000_000, "0" * 39):
        hide_token(value)
    assert not logs._tokens
    # when many tokens follow
    tokens = [f"{number:040x}" for number in range(1_000)]
    for token in tokens:
        hide_token(token)
    # then the newest are hidden, and memory is bounded
    assert len(logs._tokens) == 100
    assert hidden(f"used {tokens[-1]}") == "used ***"
    assert hidden("training of labels") == "training of labels"
