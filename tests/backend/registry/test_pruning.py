"""Which versions are pruned: never those that serve, their parents, or those in use."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, update

from backend.db.models import TargetRow, Version
from backend.errors import VersionError
from backend.registry import pruning
from backend.registry.champions import BASE
from backend.registry.versions import Registry
from tests.backend.registry.conftest import SIX, MakeCheckpoint

NOW = datetime.now(UTC)


def grow_old(registry: Registry, *names: str, days: float = 2) -> None:
    """Make these versions old, the first the oldest."""
    with registry.database.write() as connection:
        for place, name in enumerate(names):
            then = NOW - timedelta(days=days) + timedelta(seconds=place)
            here = update(Version).where(Version.name == name)
            connection.execute(here.values(created_at=then))


def pruned(registry: Registry, **how: Any) -> list[str]:
    return [version.name for version in pruning.prune(registry, **how)]


def test_what_serves_and_its_parent_are_never_pruned(
    registry: Registry, make_checkpoint: MakeCheckpoint, three: list[str]
) -> None:
    for seed in (3, 4):
        three.append(registry.add(make_checkpoint(seed, parent=three[-1]), project=SIX).name)
    registry.promote(three[0], who="job")
    registry.promote(three[3], who="job")
    grow_old(registry, *three)

    gone = pruned(registry, keep=0)

    # 3 serves, 2 is its parent, 0 is what a rollback leads to.
    assert gone == [three[1], three[4]]
    assert [version.state for version in registry.all(SIX)].count("pruned") == 2
    assert [registry.store.has(name) for name in three] == [True, False, True, True, False]
    with pytest.raises(VersionError, match="pruned"):
        registry.promote(three[1], who="ann")
    with pytest.raises(VersionError, match="pruned"):
        registry.folder(three[1])


def test_versions_of_objects_in_progress_stay(registry: Registry, three: list[str]) -> None:
    grow_old(registry, *three)
    target = {
        "project": SIX, "task_id": 1, "region_id": "r", "image": "image", "brush": "brush",
        "label": "Cat", "sequence": 1, "turn": 1, "clicks": [], "created_at": NOW,
    }  # fmt: skip
    rows = [
        {**target, "state": "kept", "model_version": three[0], "updated_at": NOW},
        {**target, "state": "submitted", "model_version": three[1], "updated_at": NOW},
        {**target, "state": "open", "model_version": three[2], "updated_at": NOW - timedelta(2)},
    ]
    with registry.database.write() as connection:
        connection.execute(insert(TargetRow), rows)

    assert pruned(registry, keep=0) == [three[1], three[2]]


def test_the_newest_few_of_each_project_and_the_young_stay(
    registry: Registry, make_checkpoint: MakeCheckpoint, three: list[str]
) -> None:
    other = registry.add(make_checkpoint(7), project="7.1").name
    grow_old(registry, *three, other)
    young = registry.add(make_checkpoint(8), project=SIX).name

    assert pruned(registry, keep=1, try_only=True) == three
    assert pruned(registry, keep=1) == three
    assert registry.store.has(other)
    assert registry.store.has(young)
    assert pruned(registry, keep=0) == [other]


def test_rejected_versions_are_pruned_first(registry: Registry, three: list[str]) -> None:
    registry.judge(three[2], {}, passed=False)
    grow_old(registry, *three)

    assert pruned(registry, keep=2) == [three[2]]


def test_an_interrupted_prune_is_completed_by_the_next(
    registry: Registry, three: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    grow_old(registry, *three)

    def dies(version: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(registry.store, "delete", dies)
        with pytest.raises(KeyboardInterrupt):
            pruning.prune(registry, keep=0)
    assert registry.store.has(three[0])

    assert pruned(registry, keep=0) == []
    assert not any(registry.store.has(name) for name in three)


def test_a_pruned_version_can_be_added_again(
    registry: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint(1)
    name = registry.add(path, project=SIX).name
    grow_old(registry, name)
    pruning.prune(registry, keep=0)

    assert registry.add(path, project=SIX).state == "candidate"
    registry.promote(name, who="ann")


def test_a_rollback_skips_pruned_versions(registry: Registry, three: list[str]) -> None:
    for name in three:
        registry.promote(name, who="job")
    grow_old(registry, *three)
    registry.promote("base", SIX, who="ann")
    # The base serves, the third is what a rollback leads to, the second is its parent.
    assert pruned(registry, keep=0) == [three[0]]

    assert registry.rollback(SIX, who="ann").version == three[2]
    assert registry.rollback(SIX, who="ann").version == three[1]
    assert registry.rollback(SIX, who="ann").version == BASE
