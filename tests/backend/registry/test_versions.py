"""Versions are added once; promotion and rollback are one row each; names are resolved."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from backend.db.models import Promotion
from backend.errors import StorageError, VersionError
from backend.label_studio.payloads import Project
from backend.registry.champions import BASE, EVERYONE, Champions
from backend.registry.versions import Registry, resolve
from backend.settings import Settings
from model import checkpoint_files as files
from model.errors import CheckpointError
from tests.backend.databases import connect
from tests.backend.registry.conftest import SIX, MakeCheckpoint

NOW = datetime.now(UTC)


# -- adding


def test_servers_that_start_together_register_their_base_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: another server registered it after this one had checked
    registry.base()
    monkeypatch.setattr(registry, "_known", lambda name: None)

    # when
    base = registry.base()

    # then
    assert base.name == registry.base_name
    assert [version.name for version in registry.all()] == [base.name]


def test_an_added_version_is_read_back_with_all_its_data(
    registry: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint(1, parent="mother-1234", noc85=4.2)

    added = registry.add(path, project=SIX, data={"samples": 50}, by="job 7")

    known = registry.get(added.name)
    assert (known.name, known.sums, known.created_at) == (added.name, added.sums, added.created_at)
    assert added.name.startswith("tuned-")
    assert (added.project, added.parent, added.state) == (SIX, "mother-1234", "candidate")
    assert added.metrics == {"noc85": 4.2}
    assert added.data == {"samples": 50}
    assert added.created_by == "job 7"
    assert added.size_bytes == sum(file.stat().st_size for file in path.iterdir()) - len(
        (path / files.SUMS).read_bytes()
    )
    assert files.read(registry.folder(added.name)) == files.read(path)


def test_adding_a_version_again_changes_nothing(
    registry: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint(1)
    first = registry.add(path, project=SIX, by="one")

    again = registry.add(path, project=SIX, by="other")
    assert (again.name, again.created_by, again.created_at) == (first.name, "one", first.created_at)


def test_a_damaged_checkpoint_is_refused(
    registry: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint(1)
    (path / files.WEIGHTS).write_bytes(b"no weights")

    with pytest.raises(CheckpointError, match="damaged"):
        registry.add(path)
    assert [version.state for version in registry.all()] == []


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "x" * 130, "star*", "ä"])
def test_an_unsafe_name_is_refused(
    registry: Registry, make_checkpoint: MakeCheckpoint, name: str
) -> None:
    path = make_checkpoint(1)
    content = (path / files.METRICS).read_text().replace("tuned-", name)
    (path / files.METRICS).write_text(content)
    contents = {file: (path / file).read_bytes() for file in files.FILES}
    (path / files.SUMS).write_text(files.sums_text(contents))

    with pytest.raises(VersionError, match="is not allowed"):
        registry.add(path)


def test_a_failing_store_leaves_no_row(
    registry: Registry, make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("No space left on device")

    monkeypatch.setattr(registry.store, "put", full)
    with pytest.raises(StorageError):
        registry.add(make_checkpoint(1))
    assert registry.all() == []


def test_a_unique_prefix_of_a_name_is_enough(registry: Registry, three: list[str]) -> None:
    assert registry.get(three[0][:9]).name == three[0]
    assert registry.get("base").name == registry.base_name
    assert registry.get("shipped").name == files.about(files.SHIPPED_FOLDER)["version"]
    with pytest.raises(VersionError, match="could be"):
        registry.get("tuned")
    with pytest.raises(VersionError, match=f"no version 'other'.*{three[0]}"):
        registry.get("other")


def test_the_gates_decision_is_recorded(registry: Registry, three: list[str]) -> None:
    registry.judge(three[0], {"noc85": [4.0, 3.1]}, passed=True)
    registry.judge(three[1], {"why": "worse"}, passed=False)

    assert registry.get(three[0]).state == "accepted"
    assert registry.get(three[0]).gate == {"noc85": [4.0, 3.1]}
    assert registry.get(three[1]).state == "rejected"
    with pytest.raises(VersionError):
        registry.judge("unknown", {}, passed=True)


# -- promotions


def test_without_promotions_the_base_serves_everyone(registry: Registry) -> None:
    assert registry.last_promotion() == 0
    assert registry.champions().of(Project(6, "1795384361")) == BASE


def test_a_promotion_is_one_row_with_user_and_reason(registry: Registry, three: list[str]) -> None:
    done = registry.promote(three[0], who="job 7", why="NoC@85 4.1 → 3.2")

    assert [promotion.id for promotion in registry.history()] == [done.id]
    assert (done.project, done.kind, done.version, done.before) == (
        SIX,
        "promotion",
        three[0],
        BASE,
    )
    assert (done.who, done.why) == ("job 7", "NoC@85 4.1 → 3.2")
    assert registry.last_promotion() == done.id
    assert registry.champions().of(Project(6, "1795384361")) == three[0]
    assert registry.champions().of(Project(7, "1795384361")) == BASE


def test_promoting_the_champion_again_changes_nothing(registry: Registry, three: list[str]) -> None:
    first = registry.promote(three[0], who="job 7")

    assert registry.promote(three[0], who="job 7, started again").id == first.id
    assert [promotion.id for promotion in registry.history()] == [first.id]


def test_rollbacks_lead_back_step_by_step(registry: Registry, three: list[str]) -> None:
    for name in three:
        registry.promote(name, who="job")

    led_to = [registry.rollback(SIX, who="ann").version for _ in range(3)]

    assert led_to == [three[1], three[0], BASE]
    assert [entry.kind for entry in registry.history(SIX)] == ["promotion"] * 3 + ["rollback"] * 3
    with pytest.raises(VersionError, match="to roll back"):
        registry.rollback(SIX, who="ann")


def test_after_a_rollback_a_promotion_starts_from_there(
    registry: Registry, three: list[str]
) -> None:
    registry.promote(three[0], who="job")
    registry.promote(three[1], who="job")
    registry.rollback(SIX, who="ann")
    registry.promote(three[2], who="job")

    champion = registry.champions().by_project[SIX]
    assert (champion.version, champion.before) == (three[2], three[0])


def test_a_version_for_everyone_serves_projects_without_their_own(
    registry: Registry, make_checkpoint: MakeCheckpoint, three: list[str]
) -> None:
    general = registry.add(make_checkpoint(9, name="general")).name

    registry.promote(general, who="ann")
    registry.promote(three[0], who="job")

    champions = registry.champions()
    assert champions.of(Project(7, "1795384361")) == general
    assert champions.of(Project(6, "1795384361")) == three[0]
    registry.rollback(SIX, who="ann")
    assert registry.champions().of(Project(6, "1795384361")) == general


def test_a_project_can_be_given_the_base_itself(
    registry: Registry, make_checkpoint: MakeCheckpoint
) -> None:
    registry.promote(registry.add(make_checkpoint(9)).name, who="ann")

    registry.promote("base", SIX, who="ann")

    assert registry.champions().of(Project(6, "1795384361")) == registry.base_name


def test_a_number_alone_finds_the_project(registry: Registry, three: list[str]) -> None:
    registry.promote(three[0], who="job")

    assert registry.champions().of(Project(6)) == three[0]
    assert registry.champions().of(Project(61)) == BASE


def test_a_rejected_version_is_promoted_only_with_anyway(
    registry: Registry, three: list[str]
) -> None:
    registry.judge(three[0], {}, passed=False)

    with pytest.raises(VersionError, match="--anyway"):
        registry.promote(three[0], who="ann")
    assert registry.promote(three[0], who="ann", anyway=True).version == three[0]


def test_a_version_without_files_is_not_promoted(registry: Registry, three: list[str]) -> None:
    registry.store.delete(three[0])

    with pytest.raises(VersionError, match="not in the store"):
        registry.promote(three[0], who="ann")


def test_a_promotion_instead_of_another_champion_is_refused(
    registry: Registry, three: list[str]
) -> None:
    registry.promote(three[0], who="job", instead_of=BASE)
    with pytest.raises(VersionError, match=f"{three[0]} serves now"):
        registry.promote(three[1], who="job", instead_of=registry.base_name)

    registry.promote(three[1], who="job", instead_of=three[0])
    assert registry.champions().of(Project(6, "1795384361")) == three[1]


def test_concurrent_promotions_are_made_one_after_the_other(
    registry: Registry, three: list[str]
) -> None:
    done: list[Promotion] = []
    refused: list[VersionError] = []

    def promote(name: str) -> None:
        try:
            done.append(registry.promote(name, who=name, instead_of=BASE))
        except VersionError as error:
            refused.append(error)

    threads = [threading.Thread(target=promote, args=(name,)) for name in three]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(done) == 1
    assert len(refused) == 2
    assert [promotion.id for promotion in registry.history()] == [done[0].id]


def test_champions_follow_from_the_log() -> None:
    def row(number: int, kind: Any, version: str, project: str = SIX) -> Promotion:
        return Promotion(id=number, project=project, kind=kind, version=version)

    log = [
        row(1, "promotion", "a"),
        row(2, "promotion", "g", EVERYONE),
        row(3, "promotion", "b"),
        row(4, "promotion", "c"),
        row(5, "rollback", "a"),  # b was pruned meanwhile
        row(6, "promotion", "d"),
    ]

    champions = Champions.after(log)

    assert champions.last == 6
    assert champions.by_project[SIX].line == ("a", "d")
    assert champions.names() == ["d", "g", "a"]


# -- names


def test_resolve_accepts_every_way_to_name_a_version(
    here: Registry, settings: Settings, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint(1)
    assert resolve("shipped", settings) == files.SHIPPED_FOLDER
    assert resolve("base", settings) == Path(settings.checkpoint)
    assert resolve(str(path), settings) == path
    assert resolve("champion", settings) == Path(settings.checkpoint)

    connect(here.database, SIX)
    name = here.add(path, project=SIX).name
    here.promote(name, who="ann")
    kept = settings.data.resolve() / "versions" / name
    assert resolve(name, settings) == resolve(name[:10], settings) == kept
    assert resolve("champion:6", settings) == kept
    assert resolve("champion", settings) == Path(settings.checkpoint)
    assert resolve(here.base_name, settings) == Path(settings.checkpoint)

    with pytest.raises(VersionError, match="no version"):
        resolve("unknown-1234", settings)
    with pytest.raises(CheckpointError, match="no checkpoint directory"):
        resolve(str(path / "nowhere"), settings)


def test_a_replaced_base_is_refused(
    here: Registry, settings: Settings, make_checkpoint: MakeCheckpoint
) -> None:
    before = here.base().name
    settings.checkpoint = str(make_checkpoint(1, name="next"))
    with here.database.write() as connection:
        moved = text("update versions set location = :path")
        connection.execute(moved, {"path": settings.checkpoint})
    after = Registry(here.database, settings)

    assert after.base().name != before
    with pytest.raises(VersionError, match="has replaced it"):
        after.folder(before)
