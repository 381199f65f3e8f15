"""kill -9 of the worker in each phase of a training, and a restart of its database: real workers,
the real pipeline, a network that learns. Each time another worker takes the job over.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backend.databases import Postgres, postgres_server
from tests.backend.learning.label_studio import host
from tests.backend.learning.site import Site, phases, settings_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def _site(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("site")
    with host() as pictures:
        settings = settings_for(folder, pictures.url, database_url=postgres.url)
        site = Site(folder, settings, pictures)
        site.label()
        site.worker()
        site.worker()
        yield site
        site.close()


@pytest.fixture
def site(_site: Site) -> Site:
    """With two workers, and served by an untrained base."""
    _site.start_over()
    return _site


def kill(site: Site, number: int) -> None:
    """Kill the job's worker and start another, while the second one takes over."""
    site.kill_worker_of(number)
    site.worker()


def test_killed_while_it_reads_and_while_it_learns(site: Site) -> None:
    # given: pictures that come slowly
    labels = site.labels()
    site.forget_pictures()
    site.host.delay_s = 0.15
    job = site.ask(steps=32, save_seconds=0.5)
    # when
    site.until_phase(job.id, "reading", attempt=1)
    kill(site, job.id)
    site.host.delay_s = 0.0
    site.until_phase(job.id, "training", attempt=2)
    site.until(lambda: site.jobs.get(job.id).progress > 0.3)
    kill(site, job.id)
    # then
    result = site.promoted_once(job.id)
    assert site.labels() == labels == result["labels"]["labels"]
    last = [line.figures for line in site.jobs.log(job.id) if line.attempt == 3 and line.figures]
    begun = [figures["progress"] for figures in last if "progress" in figures]
    assert begun[0] > 0.1, "it started from the beginning"


def test_killed_while_it_writes_and_while_it_measures(site: Site, postgres: Postgres) -> None:
    job = site.ask()
    # when: its files are in the store, its row is not yet
    with postgres.held_up("BEFORE INSERT ON versions") as waits:
        site.until(waits)
        kill(site, job.id)
    assert site.versions_of(job.id) == []
    site.until_phase(job.id, "evaluating", attempt=2)
    kill(site, job.id)
    # then
    site.promoted_once(job.id)
    reported = phases(site.jobs.log(job.id))
    assert (3, "training") not in reported
    assert (3, "evaluating") in reported


def test_killed_while_it_promotes_and_before_it_can_say_so(site: Site, postgres: Postgres) -> None:
    # given: a training that went on though its database was restarted in the middle
    job, before = site.ask(), site.champion()
    site.until_phase(job.id, "training", attempt=1)
    postgres.stop()
    postgres.start()
    site.until_phase(job.id, "evaluating", attempt=1)
    # when: in the middle of the promotion's transaction
    with postgres.held_up("BEFORE INSERT ON promotions") as waits:
        site.until(waits)
        kill(site, job.id)
    assert site.champion() == before
    # when: it is promoted, but the job does not know it
    done = "BEFORE UPDATE ON jobs WHEN NEW.state = 'done'"
    with postgres.held_up(done) as waits:
        site.until(waits)
        (version,) = site.versions_of(job.id)
        assert site.champion() == version.name
        kill(site, job.id)
    # then
    site.promoted_once(job.id)
    assert [phase for phase in phases(site.jobs.log(job.id)) if phase[0] == 3] == []
