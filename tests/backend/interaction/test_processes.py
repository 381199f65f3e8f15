"""Several processes, one database; and processes that are killed."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import select

from backend.db.engine import Database
from backend.db.migrations import migrate
from backend.db.models import EventRow, TargetRow, TaskRow
from backend.interaction.objects import Outcome
from backend.interaction.request import Interaction
from backend.interaction.store import InteractionStore
from backend.label_studio.config import parse_config
from backend.label_studio.payloads import parse_predict
from backend.settings import Settings


def point(identity, x, label="Cat"):
    return {
        "id": identity,
        "from_name": "kp",
        "to_name": "image",
        "type": "keypointlabels",
        "original_width": 64,
        "original_height": 48,
        "value": {"x": x, "y": 50, "keypointlabels": [label]},
        "is_positive": True,
    }


def body(points, config):
    task = {"id": 42, "data": {"image": "a.png"}, "drafts": [], "annotations": []}
    params = {"context": {"result": points}}
    return {"tasks": [task], "project": "6.1", "label_config": config, "params": params}


def click_many(url, name, config, go):
    """In a process of its own: forty clicks that accumulate, as with Auto-Accept off."""
    memory = InteractionStore(Database(url), Settings())
    parsed, points = parse_config(config), []
    go.wait()
    for number in range(40):
        points.append(point(f"{name}{number}", number))
        request = parse_predict(body(points, config))
        turn = memory.receive(Interaction.read(request, parsed))
        memory.record(turn, Outcome(milliseconds=1.0))


@pytest.mark.slow
def test_processes_that_click_on_one_task_lose_and_mix_nothing(database, open_page):
    config = open_page().config
    url = database.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    names = ("a", "b")
    workers = [context.Process(target=click_many, args=(url, name, config, go)) for name in names]
    for worker in workers:
        worker.start()
    go.set()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    with database.read() as connection:
        targets = connection.execute(select(TargetRow)).all()
        clicks = connection.execute(select(EventRow.click_id)).scalars().all()
        revision = connection.execute(select(TaskRow.revision)).scalar_one()
    assert sorted(len(target.clicks) for target in targets) == [40, 40]
    assert all(len({entry[0][0] for entry in target.clicks}) == 1 for target in targets)
    assert len(clicks) == len(set(clicks)) == 80
    assert revision == 80


@pytest.mark.slow
def test_processes_that_start_together_migrate_once(tmp_path):
    url = f"sqlite:///{tmp_path}/new.db"
    code = (
        "from backend.db.engine import Database\n"
        "from backend.db.migrations import migrate\n"
        f"migrate(Database({url!r}))"
    )
    root = Path(__file__).resolve().parents[3]
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    with Database(url).read() as connection:
        assert connection.execute(select(TargetRow.id)).all() == []


def receive_and_hang(url, config, ready):
    """In a process of its own: receives a click and never answers it."""
    memory = InteractionStore(Database(url), Settings())
    request = parse_predict(body([point("k1", 20)], config))
    memory.receive(Interaction.read(request, parse_config(config)))
    ready.set()
    time.sleep(60)


@pytest.mark.slow
def test_what_was_received_survives_kill_9(database, open_page):
    config = open_page().config
    url = database.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    worker = context.Process(target=receive_and_hang, args=(url, config, ready))
    worker.start()
    assert ready.wait(240)  # on a busy machine the imports alone take a minute
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(30)
    with database.read() as connection:
        (row,) = connection.execute(select(EventRow)).all()
    assert (row.click_id, row.answered_at) == ("k1", None)
    memory = InteractionStore(database, Settings())
    request = parse_predict(body([point("k1", 20), point("k2", 30)], config))
    turn = memory.receive(Interaction.read(request, parse_config(config)))
    assert not turn.started
    assert [click.id for click in turn.target.clicks] == ["k1", "k2"]


@pytest.mark.slow
def test_a_child_of_a_forking_server_uses_connections_of_its_own(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/forked.db")
    migrate(database)
    with database.write():  # a thread of the parent is inside while another one forks
        child = os.fork()
        if child == 0:
            try:
                with database.read() as connection:
                    connection.execute(select(TargetRow.id)).all()
                os._exit(0)
            except BaseException:
                os._exit(1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
