"""Leases: one holder at a time, and how a dead one is told from a slow one."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from backend.db import job_tables
from backend.db.engine import Database
from backend.jobs import process_id
from backend.jobs.lease import Lease, Leases, beat, holds, release
from tests.backend.jobs.conftest import SteadyClock

NAME = "training:6.1"


def here(_: str) -> bool:
    return False


def take(database: Database, leases: Leases, who: str = "somewhere else") -> Lease | None:
    with database.write() as connection:
        return leases.take(connection, NAME, who)


def beats(database: Database, lease: Lease) -> bool:
    with database.write() as connection:
        return beat(connection, lease)


@pytest.fixture
def leases(steady: SteadyClock) -> Leases:
    return Leases(45, steady, here)


def test_one_holds_it_until_it_is_given_back(database: Database, leases: Leases) -> None:
    first = take(database, leases)
    assert first is not None
    assert take(database, leases) is None

    with database.write() as connection:
        release(connection, NAME)
    second = take(database, leases)

    assert second is not None
    assert second.token > first.token


def test_a_holder_that_beats_is_never_given_up(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    held = take(database, leases)
    assert held is not None
    for _ in range(50):
        steady.now += 14
        assert beats(database, held)
        assert take(database, leases) is None


def test_a_silent_holder_is_given_up_by_the_onlookers_own_clock(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    held = take(database, leases)
    assert held is not None
    taken, began = None, steady.now
    while taken is None:
        taken = take(database, leases)
        steady.now += 5

    assert 45 <= steady.now - began <= 55
    assert taken.token > held.token


def test_a_long_pause_between_two_looks_is_no_proof(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    """A database that was away for an hour kept the holder from speaking as well."""
    held = take(database, leases)
    assert held is not None
    assert take(database, leases) is None
    steady.now += 3600
    assert take(database, leases) is None
    assert beats(database, held)
    steady.now += 3600
    assert take(database, leases) is None


def test_who_was_given_up_can_neither_beat_nor_hold(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    held = take(database, leases)
    assert held is not None
    while (taken := take(database, leases)) is None:
        steady.now += 15

    assert not beats(database, held)
    assert beats(database, taken)
    with database.write() as connection:
        assert not holds(connection, held)
        assert holds(connection, taken)


def test_what_was_released_is_held_by_nobody(database: Database, leases: Leases) -> None:
    held = take(database, leases)
    assert held is not None
    with database.write() as connection:
        release(connection, NAME)
        assert not holds(connection, held)
        assert not beat(connection, held)


def test_a_process_of_this_machine_that_ended_is_gone_at_once(database: Database) -> None:
    script = "from backend.jobs.process_id import this_process; print(this_process())"
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    ended = asked.stdout.strip()

    assert process_id.gone(ended)
    assert not process_id.gone(process_id.this_process())

    leases = Leases(1e9)
    assert take(database, leases, ended) is not None
    assert take(database, leases, process_id.this_process()) is not None
    assert take(database, leases, process_id.this_process()) is None


@pytest.mark.parametrize(
    "other",
    [
        lambda me: me.replace(me.split(" ")[0], "elsewhere", 1),
        lambda me: me.replace(me.split(" ")[1], "another-boot", 1),
        lambda me: me.replace(me.split(" ")[2], "pid:[1]", 1),
        lambda me: "somebody",
    ],
)
def test_of_processes_elsewhere_nothing_is_known(other: Callable[[str], str]) -> None:
    """A container on this machine may have the same host name, but its own numbers."""
    machine, _, _ = process_id.this_process().rsplit(" ", 2)
    assert not process_id.gone(other(f"{machine} 999999 1"))


def test_a_number_that_was_given_again_is_another_process() -> None:
    machine, number, _ = process_id.this_process().rsplit(" ", 2)
    assert process_id.gone(f"{machine} {number} 1")


def test_a_lease_is_a_row_of_its_name(database: Database, leases: Leases) -> None:
    take(database, leases)
    with database.write() as connection:
        assert job_tables.lock(connection, "training:7.1").holder == ""
        assert job_tables.lock(connection, NAME).holder == "somewhere else"
