"""Accepted samples as a shard, read back by the reader that training uses."""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from backend.samples.export import _layers, export
from tests.backend.samples.studio import HEIGHT, WIDTH, region, square
from tests.backend.samples.studio_pictures import Team
from training.data import PackDataset, open_dataset


def test_a_shard_holds_the_samples(team: Team, tmp_path: Path) -> None:
    # given
    cat, dog = square(4, 4), square(30, 20, 12)
    team.label(1, [region("a", cat), region("b", dog, "Dog")])
    team.label(2, [region("c", dog)])
    team.look()
    # when
    path = tmp_path / "out" / "team.tar"
    steps: list[tuple[int, int]] = []
    assert export(team.dataset(), path, lambda *step: steps.append(step)) == (3, [])
    # then
    assert steps == [(1, 2), (2, 2)]
    shard = open_dataset([path])
    assert isinstance(shard, PackDataset)
    assert (len(shard), shard.skipped, shard.sources) == (2, 0, ["team", "team"])
    first = shard[0]
    assert np.array_equal(first.mask(1), cat)
    assert np.array_equal(first.mask(2), dog)
    assert [o.category for o in first.objects] == ["Cat", "Dog"]
    original = team.dataset()[0].image.astype(int)
    assert np.abs(first.image.astype(int) - original).mean() < 4
    assert [entry.name for entry in path.parent.iterdir()] == ["team.tar"]


def test_masks_that_overlap_are_whole_in_records_of_their_own(team: Team, tmp_path: Path) -> None:
    rider, horse, tree = square(10, 10, 6), square(5, 5, 20), square(50, 5)
    team.label(1, [region("h", horse), region("r", rider, "Dog"), region("t", tree)])
    team.look()
    path = tmp_path / "team.tar"

    assert export(team.dataset(), path) == (3, [])

    shard = PackDataset([path])
    assert [[o.category for o in shard.objects(n)] for n in range(2)] == [["Cat", "Cat"], ["Dog"]]
    assert np.array_equal(shard[0].mask(1), horse)
    assert np.array_equal(shard[0].mask(2), tree)
    assert np.array_equal(shard[1].mask(1), rider)


def test_neighbours_that_share_a_border_stay_together() -> None:
    left, right = square(0, 0, 20), square(20, 0, 20)
    right[0, 19] = True

    assert list(_layers({1: left, 2: right})) == [{1, 2}]


def test_more_objects_than_a_map_has_numbers_go_into_several_records() -> None:
    masks = {}
    for number in range(1, 301):
        masks[number] = np.zeros((HEIGHT, WIDTH), dtype=bool)
        masks[number].flat[number] = True

    assert [len(layer) for layer in _layers(masks)] == [254, 46]


def test_clicks_phrase_and_side_go_along(team: Team, tmp_path: Path) -> None:
    from sqlalchemy import update

    from backend.db.models import SampleRow

    team.label(1, [region()])
    with team.database.write() as connection:
        made = {"clicks": [[50.0, 25.0, False]], "phrase": "die Katze ☂"}
        connection.execute(update(SampleRow).values(**made))
    team.look()
    path = tmp_path / "team.tar"
    export(team.dataset(), path)

    with tarfile.open(path) as archive:
        name = next(n for n in archive.getnames() if n.endswith(".json"))
        stream = archive.extractfile(name)
        assert stream is not None
        about = json.load(stream)
    assert about["objects"][0]["clicks"] == [[32.0, 12.0, False]]
    assert about["split"] == team.dataset().split(0)
    (read,) = PackDataset([path]).objects(0)
    assert read.phrases == ("die Katze ☂",)
    assert read.clicks == ((32.0, 12.0, False),)


def test_unreadable_samples_are_reported_and_the_rest_written(team: Team, tmp_path: Path) -> None:
    address = team.label(1, [region()])
    team.label(2, [region()])
    team.look()
    dataset = team.dataset()
    del team.host.pictures[address]
    team.empty_cache()

    written, missing = export(dataset, tmp_path / "team.tar")

    assert written == 1
    assert len(missing) == 1
    assert missing[0].startswith("project-6-task-1-annotation-1-image")


def test_a_broken_off_export_leaves_nothing(team: Team, tmp_path: Path) -> None:
    team.label(1, [region()])
    team.look()
    path = tmp_path / "out" / "team.tar"
    path.parent.mkdir()
    path.write_bytes(b"the one before")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(team.dataset(), path, stop)
    assert path.read_bytes() == b"the one before"
    assert [entry.name for entry in path.parent.iterdir()] == ["team.tar"]
