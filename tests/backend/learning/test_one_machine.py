"""One machine with SQLite and real processes: its disks are full, its database is locked, its Label
Studio is down. Each problem is reported, waited for, and costs nothing but time.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from backend.db.models import Job
from tests.backend.learning.label_studio import host
from tests.backend.learning.site import Site, phases, settings_for
from tests.backend.learning.small_disk import SmallDisk, small_disk

pytestmark = pytest.mark.slow

# Longer than the time-out for a lock of SQLite.
LOCKED_S = 12.0


@dataclass(frozen=True)
class Machine:
    """data: the disk of the data folder; store: that of the versions."""

    site: Site
    data: SmallDisk
    store: SmallDisk


@pytest.fixture(scope="module")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder: Path = tmp_path_factory.mktemp("machine")
    sites: list[Site] = []

    def processes() -> list[int]:
        return [child.pid for site in sites for child in site.processes if child.poll() is None]

    with (
        host() as pictures,
        small_disk(folder / "data", processes) as data,
        small_disk(folder / "store", processes) as store,
    ):
        settings = settings_for(
            folder,
            pictures.url,
            database_url=f"sqlite:///{folder}/own.db",
            checkpoint_store=str(store.folder),
        )
        sites.append(Site(folder, settings, pictures))
        sites[0].label()
        sites[0].worker()
        yield Machine(sites[0], data, store)
        sites[0].close()


@pytest.fixture
def machine(_machine: Machine) -> Machine:
    """Served by an untrained base."""
    _machine.site.start_over()
    return _machine


def failed_attempt(site: Site, number: int, attempt: int) -> Job:
    """Wait until an attempt has failed and the job waits for the next."""

    def there() -> bool:
        job = site.jobs.get(number)
        assert not job.ended, job
        return job.attempts == attempt and job.state == "queued"

    site.until(there)
    return site.jobs.get(number)


def wait_no_longer(site: Site, number: int) -> None:
    """End the pause before the next attempt."""
    with site.database.write() as connection:
        connection.execute(update(Job).where(Job.id == number).values(due_at=datetime.now(UTC)))


def test_full_disks_are_reported_and_leave_no_half_version(machine: Machine) -> None:
    site, labels, base = machine.site, machine.site.labels(), machine.site.champion()
    # when: there is no room for what it learns
    machine.data.fill()
    job = site.ask()
    first = failed_attempt(site, job.id, 1)
    expected = r"could not write to the data folder .+ Free disk space"
    assert re.search(expected, first.error), first.error
    machine.data.make_room()
    # when: there is room for that, but not for the version
    machine.store.fill()
    wait_no_longer(site, job.id)
    second = failed_attempt(site, job.id, 2)
    assert re.search(r"(?i)(could not|cannot) (be )?writ", second.error), second.error
    assert site.versions_of(job.id) == []
    assert [path for path in machine.store.folder.iterdir() if path.name[0] != "."] == []
    assert site.champion() == base
    # then: with room it goes on
    machine.store.make_room()
    wait_no_longer(site, job.id)
    site.promoted_once(job.id)
    assert site.labels() == labels
    last = [phase for attempt, phase in phases(site.jobs.log(job.id)) if attempt == 3]
    assert last[-2:] == ["evaluating", "promoting"]


def test_a_database_that_is_locked_for_long_costs_an_attempt_at_most(machine: Machine) -> None:
    site, labels = machine.site, machine.site.labels()
    job = site.ask()
    site.until_phase(job.id, "training", attempt=1)
    # when: another process writes, and does not come to an end
    script = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", script, str(site.folder / "own.db"), str(LOCKED_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"held\n"
        writer.wait()
    # then
    deadline = time.monotonic() + 120
    while not site.jobs.get(job.id).ended:
        assert time.monotonic() < deadline, site.jobs.get(job.id)
        if site.jobs.get(job.id).state == "queued":
            assert "locked" in site.jobs.get(job.id).error
            wait_no_longer(site, job.id)
        site.until(lambda: site.jobs.get(job.id).state != "queued")
        time.sleep(0.2)
    site.promoted_once(job.id)
    assert site.jobs.get(job.id).attempts <= 2
    assert site.labels() == labels


def test_while_label_studio_is_away_nothing_is_learned_from_what_is_left(machine: Machine) -> None:
    site, labels, base = machine.site, machine.site.labels(), machine.site.champion()
    # given: pictures that are no longer at hand
    site.forget_pictures()
    site.host.go()
    # when
    job = site.ask()
    first = failed_attempt(site, job.id, 1)
    # then
    assert "The pictures of 22 of 22 labels cannot be fetched" in first.error
    site.host.come()
    wait_no_longer(site, job.id)
    site.until_phase(job.id, "training", attempt=2)
    read = [entry.line for entry in site.jobs.log(job.id) if entry.attempt == 2]
    assert "32 labels on 16 pictures to train on, 12 on 6 held out." in read
    assert site.labels() == labels
    # The rest is as in the other tests, so the job is cancelled.
    site.jobs.cancel(job.id, "ann")
    site.until(lambda: site.jobs.get(job.id).ended)
    assert site.jobs.get(job.id).error == "Cancelled by ann."
    assert site.champion() == base
