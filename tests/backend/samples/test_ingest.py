"""What deliveries do to the tables, one by one: versions, graves, prompts."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from backend.db.engine import Database
from backend.db.models import AnnotatedPictureRow, AnnotationRow, SampledProjectRow, SampleRow
from backend.label_studio.rle import PackedMask
from backend.samples.ingest import SampleStore
from tests.backend.samples.studio import (
    PROJECT,
    START,
    Studio,
    connected,
    reconciliation,
    region,
    settle,
    square,
)


def rows(database: Database, table: type) -> list[Any]:
    with database.read() as connection:
        return list(connection.execute(select(table.__table__)).all())  # type: ignore[attr-defined]


def test_an_accepted_region_becomes_a_sample(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    mask = square(10, 20)
    settle(store, studio.submit(7, studio.task(3), [region("a", mask, origin="prediction")]))

    (sample,) = rows(database, SampleRow)
    assert (sample.project, sample.annotation_id, sample.number) == (PROJECT.key, 7, 0)
    assert (sample.region_id, sample.label, sample.origin) == ("a", "Cat", "prediction")
    assert (sample.phrase, sample.clicks) == ("", [])
    assert sample.area == 64
    packed = PackedMask(sample.width, sample.height, bytes(sample.mask))
    assert np.array_equal(packed.unpack(), mask)
    (picture,) = rows(database, AnnotatedPictureRow)
    assert (picture.address, picture.state) == ("/data/upload/6/3.png", "unseen")
    (annotation,) = rows(database, AnnotationRow)
    assert (annotation.task_id, annotation.annotator) == (3, 1)
    assert annotation.updated_at == START + timedelta(seconds=1)


def test_a_newer_version_replaces_and_an_older_one_is_late(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    first = studio.submit(7, studio.task(3), [region("a"), region("b")])
    second = studio.update(7, [region("b", label="Dog")])

    settle(store, second)
    settle(store, first)

    assert [(s.region_id, s.label) for s in rows(database, SampleRow)] == [("b", "Dog")]


def test_skipping_takes_the_samples_away(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    settle(store, studio.submit(7, studio.task(3), [region()]))
    settle(store, studio.update(7, [region()], was_cancelled=True))

    assert rows(database, SampleRow) == rows(database, AnnotatedPictureRow) == []
    assert rows(database, AnnotationRow)[0].skipped


def test_a_deletion_is_remembered(store: SampleStore, studio: Studio, database: Database) -> None:
    created = studio.submit(7, studio.task(3), [region()])
    updated = studio.update(7, [region(label="Dog")])
    deleted = studio.delete(7)

    settle(store, created)
    settle(store, deleted)
    settle(store, updated)

    assert rows(database, SampleRow) == []
    assert rows(database, AnnotationRow)[0].gone_at == START


@pytest.mark.parametrize("task_goes_first", [True, False])
def test_a_deleted_task_takes_its_annotations_along(
    store: SampleStore, studio: Studio, database: Database, task_goes_first: bool
) -> None:
    created = [studio.submit(n, studio.task(n), [region()]) for n in (3, 4)]
    gone = studio.delete_task(3)

    for body in [gone, *created] if task_goes_first else [*created, gone]:
        settle(store, body)

    assert [sample.annotation_id for sample in rows(database, SampleRow)] == [4]


def test_a_deleted_project_takes_all_along(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    # given: an organization's webhook names the project by its number alone
    connected(database)
    settle(store, studio.submit(7, studio.task(3), [region()]))
    late = studio.submit(8, studio.task(4), [region()])
    # when
    settle(store, {"action": "PROJECT_DELETED", "project": {"id": PROJECT.id}})
    settle(store, late)
    # then
    assert rows(database, SampleRow) == []


def test_a_deleted_project_of_an_unknown_label_studio_takes_nothing_along(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    settle(store, studio.submit(7, studio.task(3), [region()]))
    settle(store, {"action": "PROJECT_DELETED", "project": {"id": PROJECT.id}})

    assert len(rows(database, SampleRow)) == 1


def test_what_label_studio_has_again_is_restored(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    # given: a deletion, and then a Label Studio that was set back to a backup
    connected(database)
    created = studio.submit(7, studio.task(3), [region()])
    annotations, tasks = dict(studio.annotations), dict(studio.tasks)
    settle(store, created)
    settle(store, studio.delete_task(3))
    studio.annotations, studio.tasks = annotations, tasks
    # when
    reconciliation(database, studio).run()
    # then
    assert [sample.annotation_id for sample in rows(database, SampleRow)] == [7]


def test_an_older_version_that_label_studio_has_again_counts(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    # given: two versions, and then a Label Studio whose backup, or clock, is older than the second
    connected(database)
    settle(store, studio.submit(7, studio.task(3), [region(label="Dog")]))
    before, config = dict(studio.annotations), studio.about() | {"label_config": "<View>new</View>"}
    settle(store, studio.update(7, [region()]))
    config["updated_at"] = (START + timedelta(days=365)).isoformat()
    settle(store, {"action": "PROJECT_UPDATED", "project": config})
    studio.annotations = before
    # when
    reconciliation(database, studio).run()
    # then
    assert [sample.label for sample in rows(database, SampleRow)] == ["Dog"]
    assert rows(database, SampledProjectRow)[0].label_config == studio.config


def test_the_newest_config_is_kept(store: SampleStore, studio: Studio, database: Database) -> None:
    def event(config: str, days: int) -> dict[str, Any]:
        about = studio.about() | {"label_config": config}
        about["updated_at"] = (START + timedelta(days=days)).isoformat()
        return {"action": "PROJECT_UPDATED", "project": about}

    settle(store, event("<View>new</View>", 2))
    settle(store, event("<View>old</View>", 1))

    (project,) = rows(database, SampledProjectRow)
    assert project.label_config == "<View>new</View>"


def test_a_config_that_cannot_be_served_does_not_lose_the_label(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    studio.config = "<View/>"
    settle(store, studio.submit(7, studio.task(3), [region()]))

    assert len(rows(database, SampleRow)) == 1
    assert rows(database, AnnotatedPictureRow)[0].address == ""


def test_a_picture_keeps_its_hash_until_a_newer_version_comes(
    store: SampleStore, studio: Studio, database: Database
) -> None:
    connected(database)
    settle(store, studio.submit(7, studio.task(3), [region()]))
    with database.write() as connection:
        connection.execute(update(AnnotatedPictureRow).values(key="ab" * 32, state="good"))

    # when the same version is reported again, with differences that do not concern the picture
    studio.annotations[7]["ground_truth"] = True
    reconciliation(database, studio).run()
    assert rows(database, AnnotationRow)[0].ground_truth
    assert rows(database, AnnotatedPictureRow)[0].key == "ab" * 32

    # when it is drawn on again
    settle(store, studio.update(7, [region()]))
    assert rows(database, AnnotatedPictureRow)[0].state == "unseen"
