"""The command line: quick help, errors in one sentence, clean starts and ends."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.table import Table
from typer.testing import CliRunner

from backend.cli import connect
from backend.cli.common import console
from backend.cli.main import COMMANDS, app
from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.jobs.presence import Presence
from backend.label_studio.probe import Finding
from backend.worker.child_process import free_port
from tests.backend.programs import alive, until


def environment(**settings: object) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if "PHRASECLICK" not in name}
    return {**clean, **{f"PHRASECLICK_{name}": str(value) for name, value in settings.items()}}


def run(*arguments: str, **settings: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(**settings),
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_command_explains_itself(command: Callable[..., None]) -> None:
    name = command.__name__.replace("_", "-")

    shown = CliRunner().invoke(app, [name, "--help"])

    assert shown.exit_code == 0
    assert f"Usage: root {name}" in shown.stdout


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    # given a new process
    script = (
        "import sys; sys.argv = ['phraseclick', '--help']\n"
        "from backend.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'gensim', 'skimage', 'sqlalchemy', 'celery'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    # when
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    # then
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert command.__name__.replace("_", "-") in done.stdout


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command in ("serve", "up"):
            done = run(command, f"--port={port}")

            assert done.returncode == 1
            assert f"Another program listens on 127.0.0.1:{port} already" in done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"LOG_LEVEL": "loud"}, "The setting PHRASECLICK_LOG_LEVEL is wrong."),
        ({"DATA": "/proc/phraseclick"}, "The data folder /proc/phraseclick cannot be used:"),
        ({"CHECKPOINT": "/nowhere"}, "There is no checkpoint directory at /nowhere."),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    settings = {"LOG_LEVEL": "warning", "DATA": str(tmp_path / "data"), **settings}
    done = run("serve", "--port", str(free_port()), **settings)
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_be_used_is_one_sentence() -> None:
    done = run("doctor", DATA="x" * 300)

    assert done.returncode == 1
    assert "cannot be used: File name too long." in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_whether_the_model_loads(random_checkpoint: Path, tmp_path: Path) -> None:
    # given a model, and one whose weights were damaged
    damaged = tmp_path / "damaged"
    shutil.copytree(random_checkpoint, damaged)
    weights = damaged / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    # when
    good, bad = (
        run("doctor", CHECKPOINT=folder, DATA=tmp_path / "data").stdout
        for folder in (random_checkpoint, damaged)
    )
    # then
    assert re.search(r"ok +model +random-\w+ loads", good), good
    assert re.search(r"bad +model ", bad), bad


def test_alive_says_whether_a_program_of_this_machine_runs(tmp_path: Path) -> None:
    # given a worker here, and a scheduler of another machine
    database = Database(f"sqlite:///{tmp_path / 'phraseclick.db'}")
    migrate(database)
    Presence(database, "worker")._update()
    Presence(database, "scheduler", lambda: {"host": "elsewhere"})._update()
    database.close()
    # when
    answers = {
        kind: CliRunner().invoke(app, ["alive", kind, f"--data={tmp_path}"]).exit_code
        for kind in ("worker", "scheduler", "server")
    }
    # then
    assert answers == {"worker": 0, "scheduler": 1, "server": 1}


def started(tmp_path: Path, *arguments: str, **settings: object) -> "subprocess.Popen[bytes]":
    with (tmp_path / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "backend.cli", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment(**settings),
        )


def healthy(port: int, log: Path) -> dict[str, Any]:
    answers: list[dict[str, Any]] = []

    def ask() -> bool:
        with suppress(httpx.HTTPError):
            answers.append(httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).json())
        return bool(answers)

    until(ask, log, 90)
    return answers[0]


def children_of(pid: int) -> list[int]:
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(entry.parent.name)
            children += [child, *children_of(child)]
    return children


@pytest.mark.slow
def test_serve_answers_once_the_model_is_loaded_and_ends_on_sigterm(
    tmp_path: Path, random_checkpoint: Path
) -> None:
    port = free_port()
    data = tmp_path / "data"
    process = started(
        tmp_path, "serve", f"--port={port}", f"--data={data}", CHECKPOINT=random_checkpoint
    )
    try:
        health = healthy(port, tmp_path / "log")
        assert health["model_loaded"] is True
        assert health["model_version"].startswith("random-")
        assert (data / "phraseclick.db").exists(), "all state is in the data folder"
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(30) in (0, -signal.SIGTERM)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_up_restarts_its_processes_and_ends_them_with_itself(
    tmp_path: Path, random_checkpoint: Path
) -> None:
    port = free_port()
    log = tmp_path / "log"
    process = started(
        tmp_path,
        "up",
        f"--port={port}",
        f"--data={tmp_path / 'data'}",
        CHECKPOINT=random_checkpoint,
    )
    try:
        healthy(port, log)
        until(lambda: "Ready" in log.read_text(), log)
        # then one line says where it is and what comes next
        (line,) = log.read_text().splitlines()
        address = f"http://127.0.0.1:{port}"
        assert line.startswith(f"Ready at {address} · dashboard: {address}/dashboard · next: ")
        assert "phraseclick connect --url http://localhost:8080 --project 1" in line
        server = next(
            pid
            for pid in children_of(process.pid)
            if b"serve" in Path(f"/proc/{pid}/cmdline").read_bytes()
            and b"parent_watch" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        # when it is killed, then it is restarted
        os.kill(server, signal.SIGKILL)
        until(lambda: not alive(server), log)
        healthy(port, log)
        family = children_of(process.pid)
        # Server, two workers and scheduler, each with the process that watches its parent.
        assert len(family) >= 8
    finally:
        process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()[-3000:]
    assert [pid for pid in family if alive(pid)] == []


def test_a_name_in_any_table_does_not_paint_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = Table("label")
    table.add_row("\x1b[2J\ud800 Cats and dogs")

    console().print(table)

    assert "\\x1b[2J\\ud800" in capsys.readouterr().out


def test_a_name_from_label_studio_does_not_paint_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    connect._show(iter([Finding("project", True, "Project 1: \x1b[2JCats")]))

    assert "\\x1b[2JCats" in capsys.readouterr().out
