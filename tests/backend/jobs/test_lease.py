"""Leases: one holder at a time, and how a dead holder differs from a slow one."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from backend.db.engine import Database
from backend.db.models import lock_lease
from backend.jobs.lease import (
    Lease,
    Leases,
    beat,
    holds,
    process_gone,
    release,
    this_process,
)
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


def test_one_process_holds_a_lease_until_it_is_released(database: Database, leases: Leases) -> None:
    first = take(database, leases)
    assert first is not None
    assert take(database, leases) is None

    with database.write() as connection:
        release(connection, NAME)
        assert not holds(connection, first)
    second = take(database, leases)

    assert second is not None
    assert second.token > first.token


def test_a_holder_with_heartbeats_keeps_its_lease(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    held = take(database, leases)
    assert held is not None
    for _ in range(50):
        steady.now += 14
        assert beats(database, held)
        assert take(database, leases) is None


def test_a_silent_holder_loses_its_lease_by_the_observers_clock(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    held = take(database, leases)
    assert held is not None
    taken, started = None, steady.now
    while taken is None:
        taken = take(database, leases)
        steady.now += 5

    assert 45 <= steady.now - started <= 55
    assert taken.token > held.token


def test_a_long_gap_between_observations_counts_as_a_short_one(
    database: Database, leases: Leases, steady: SteadyClock
) -> None:
    """While the database was down for an hour, the holder could not write heartbeats either."""
    held = take(database, leases)
    assert held is not None
    assert take(database, leases) is None
    steady.now += 3600
    assert take(database, leases) is None
    assert beats(database, held)
    steady.now += 3600
    assert take(database, leases) is None


def test_a_process_that_lost_its_lease_can_neither_beat_nor_hold(
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


def test_an_ended_process_of_this_machine_loses_its_lease_at_once(database: Database) -> None:
    script = "from backend.jobs.lease import this_process; print(this_process())"
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    ended = asked.stdout.strip()

    assert process_gone(ended)
    assert not process_gone(this_process())

    leases = Leases(1e9)
    assert take(database, leases, ended) is not None
    assert take(database, leases, this_process()) is not None
    assert take(database, leases, this_process()) is None


@pytest.mark.parametrize(
    "other",
    [
        lambda me: me.replace(me.split(" ")[0], "elsewhere", 1),
        lambda me: me.replace(me.split(" ")[1], "another-boot", 1),
        lambda me: me.replace(me.split(" ")[2], "pid:[1]", 1),
        lambda me: "another",
    ],
)
def test_processes_of_other_machines_are_never_gone(other: Callable[[str], str]) -> None:
    """A container on this machine may share the host name, but has its own PIDs."""
    machine, _, _ = this_process().rsplit(" ", 2)
    assert not process_gone(other(f"{machine} 999999 1"))


def test_a_reused_pid_is_another_process() -> None:
    machine, number, _ = this_process().rsplit(" ", 2)
    assert process_gone(f"{machine} {number} 1")


def test_each_name_has_its_own_row(database: Database, leases: Leases) -> None:
    take(database, leases)
    with database.write() as connection:
        assert lock_lease(connection, "training:7.1").holder == ""
        assert lock_lease(connection, NAME).holder == "somewhere else"
