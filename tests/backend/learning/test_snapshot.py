"""The snapshot of the labels that a training reads, and the folder that it is in."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.jobs.queue import Jobs
from backend.learning.snapshot import Snapshot, sweep, take_snapshot, work_dir
from backend.samples.dataset import open_samples
from tests.backend.learning.site import Site
from tests.backend.samples.studio import PROJECT


def snapshot_of(site: Site, folder: Path) -> Snapshot:
    samples = open_samples(site.settings, site.database, PROJECT.key)
    return take_snapshot(samples, folder, lambda *_: None)


def test_a_snapshot_stays_the_same_while_people_label(labeled: Site, tmp_path: Path) -> None:
    samples = open_samples(labeled.settings, labeled.database, PROJECT.key)
    read: list[tuple[int, int]] = []
    folder = tmp_path / "copy"
    folder.mkdir()

    first = take_snapshot(samples, folder, lambda *counts: read.append(counts))
    labeled.host.pictures.clear()
    labeled.forget_pictures()
    again = take_snapshot(samples, folder, lambda *counts: read.append(counts))

    assert first == again
    assert read == [(n, 9) for n in range(1, 10)]
    assert len(first.training_part()) == 3
    held_out = first.held_out_part()
    assert held_out is not None
    assert len(held_out) == 6


@pytest.mark.parametrize(
    ("train", "held_out", "expected"),
    [(9, 1, (6, 4)), (12, 0, (8, 4)), (18, 2, (14, 6)), (9, 6, (9, 6)), (2, 0, (2, 0))],
)
def test_with_few_held_out_up_to_a_third_of_the_others_is_held_out_too(
    site: Site, tmp_path: Path, train: int, held_out: int, expected: tuple[int, int]
) -> None:
    # given
    site.label(train=train, held_out=held_out)
    # when
    snapshot = snapshot_of(site, tmp_path)
    # then
    assert (snapshot.train.pictures, snapshot.held_out.pictures) == expected


def test_a_snapshot_of_too_many_has_the_newest(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backend.learning.snapshot._MOST", {"train": 4, "validation": 2})
    site.label(train=8, held_out=3)

    copy = snapshot_of(site, tmp_path)

    assert (copy.train.pictures, copy.held_out.pictures) == (4, 2)
    learned = {copy.training_part()[n].key.rpartition("-")[0] for n in range(4)}
    samples = open_samples(site.settings, site.database, PROJECT.key)
    here = [n for n in range(len(samples)) if samples.split(n) == "train"]
    newest = sorted(here, key=samples.updated_at)[-2:]
    assert {samples[n].key for n in newest} <= learned


def test_an_attempt_takes_over_the_files_of_the_one_before(site: Site) -> None:
    # given
    data, job = site.settings.data, site.ask()
    first = work_dir(data, replace(job, attempts=1))
    (first / "state").write_text("x")
    # when
    second = work_dir(data, replace(job, attempts=2))
    # then: a process that only seemed dead finds nothing under the old name
    assert (second / "state").exists()
    assert not first.exists()
    assert work_dir(data, replace(job, attempts=2)) == second
    assert sweep(data, site.database) == 0
    Jobs(site.database).cancel(job.id, "ann")
    assert sweep(data, site.database) == 1
    assert list((data / "jobs").iterdir()) == []
