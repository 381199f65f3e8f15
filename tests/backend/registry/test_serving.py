"""Which version answers while versions change: no request waits or gets a wrong one."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from backend.label_studio.payloads import Project
from backend.registry.serving import ModelCache, Predictors
from backend.registry.versions import Registry
from backend.settings import MIB, Settings
from model.predictor import Predictor
from tests.backend.programs import until
from tests.backend.registry.conftest import MakeCheckpoint
from training.finetune.labels import LEAST_OBJECTS

Open = Callable[..., Predictors]
SIX, SEVEN = Project(6, "1795384361"), Project(7, "1795384361")


@pytest.fixture
def base(settings: Settings) -> Predictor:
    return Predictor(settings.checkpoint, device="cpu")


@pytest.fixture
def opened(here: Registry, base: Predictor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """``opened()``: predictors that poll; ``opened(poll_s=60)``: only on request.

    Only ``opened(candidates=True)`` loads versions that were not promoted yet.
    """
    every: list[Predictors] = []
    # On a busy machine a version takes longer to load than an annotator waits.
    monkeypatch.setattr("backend.registry.serving._WAIT_S", 60.0)

    def opening(
        *,
        poll_s: float = 0.02,
        max_bytes: int = 64 * MIB,
        candidates: bool = False,
        changed: Callable[[], None] = lambda: None,
    ) -> Predictors:
        if not candidates:
            monkeypatch.setattr(here, "candidates", list)
        predictors = Predictors(here, base, poll_s=poll_s, max_bytes=max_bytes, changed=changed)
        predictors.start()
        every.append(predictors)
        return predictors

    yield opening
    for predictors in every:
        predictors.close()


@pytest.fixture
def two(here: Registry, make_checkpoint: MakeCheckpoint) -> tuple[str, str]:
    """Two versions for project 6."""
    first, second = (here.add(make_checkpoint(n), project=SIX.key).name for n in (1, 2))
    return first, second


def serves(predictors: Predictors, version: str, project: Project = SIX) -> Callable[[], bool]:
    return lambda: predictors.champion(project).version == version


def test_a_promotion_and_a_rollback_take_effect_without_a_restart(
    opened: Open, here: Registry, base: Predictor, two: tuple[str, str]
) -> None:
    predictors = opened()

    here.promote(two[0], who="ann")
    until(serves(predictors, two[0]))
    assert predictors.champion(SEVEN) is base
    here.promote(two[1], who="ann")
    until(serves(predictors, two[1]))
    assert predictors.status(SIX) == {
        "model_version": two[1],
        "champions": {SIX.key: two[1]},
    }
    here.rollback(SIX.key, who="ann")
    until(serves(predictors, two[0]))
    here.rollback(SIX.key, who="ann")
    until(serves(predictors, base.version))
    assert predictors.status(SIX) == {"model_version": base.version}


@pytest.mark.parametrize(
    ("label", "by_champion"),
    [("Cat", True), ("cat", True), ("", True), ("Dog", False), ("Hull_Scratch", False)],
)
def test_a_label_that_the_champion_has_not_learned_is_served_by_the_base(
    opened: Open,
    here: Registry,
    base: Predictor,
    make_checkpoint: MakeCheckpoint,
    label: str,
    by_champion: bool,
) -> None:
    # given a champion that saw twenty cats and too few dogs
    folder = make_checkpoint(1, labels={"cat": 20, "dog": LEAST_OBJECTS - 1})
    champion = here.promote(here.add(folder, project=SIX.key).name, who="ann").version
    predictors = opened()
    until(serves(predictors, champion))
    # when / then
    served = predictors.for_label(SIX, label).version
    assert served == (champion if by_champion else base.version)
    assert predictors.for_label(SEVEN, label) is base


@pytest.mark.timed
def test_the_old_version_serves_while_the_new_one_is_loaded(
    opened: Open,
    here: Registry,
    two: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here.promote(two[0], who="ann")
    predictors = opened()
    until(serves(predictors, two[0]))
    go, slow = threading.Event(), predictors._loaded._load

    def slowly(version: str) -> Predictor:
        assert go.wait(20)
        return slow(version)

    monkeypatch.setattr(predictors._loaded, "_load", slowly)
    here.promote(two[1], who="ann")
    until(lambda: predictors._state.champions.last == 2)
    for _ in range(20):
        started = time.perf_counter()
        assert predictors.champion(SIX).version == two[0]
        assert time.perf_counter() - started < 0.1
    assert predictors.status(SIX)["model_version"] == two[0]
    go.set()
    until(serves(predictors, two[1]))


def test_a_rollback_needs_no_loading(
    opened: Open, here: Registry, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in a server that started after the promotion and never served the version before."""
    here.promote(two[0], who="ann")
    here.promote(two[1], who="ann")
    predictors = opened()
    until(lambda: two[0] in predictors._loaded and two[1] in predictors._loaded)
    monkeypatch.setattr(predictors._loaded, "_load", lambda version: 1 / 0)

    here.rollback(SIX.key, who="ann")
    until(serves(predictors, two[0]), seconds=1)


def test_a_candidate_is_loaded_while_the_gate_judges_it(
    opened: Open, here: Registry, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.judge(two[0], {}, passed=False)
    predictors = opened(candidates=True)
    until(lambda: two[1] in predictors._loaded)
    monkeypatch.setattr(predictors._loaded, "_load", lambda version: 1 / 0)
    assert two[0] not in predictors._loaded

    here.promote(two[1], who="job")
    until(serves(predictors, two[1]), seconds=1)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_and_is_reported(
    opened: Open, here: Registry, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    here.promote(two[0], who="ann")
    predictors = opened()
    until(serves(predictors, two[0]))

    def fails(version: str) -> Predictor:
        raise OSError("the disk is on fire")

    # when a version is promoted that cannot be loaded
    with monkeypatch.context() as patched:
        patched.setattr(predictors._loaded, "_load", fails)
        here.promote(two[1], who="ann")
        until(lambda: "problems" in predictors.status(SIX))
    # then
    status = predictors.status(SIX)
    assert predictors.champion(SIX).version == status["model_version"] == two[0]
    assert two[1] in status["problems"][0]
    assert "the previous one keeps serving. the disk is on fire" in status["problems"][0]
    # and once it can be loaded, it serves by itself
    predictors._loaded._versions[two[1]].retry_at = time.monotonic()
    until(serves(predictors, two[1]))
    assert "problems" not in predictors.status(SIX)


def test_a_server_that_starts_waits_for_its_champions_only(
    opened: Open, here: Registry, base: Predictor, two: tuple[str, str]
) -> None:
    here.promote(two[1], who="ann")
    predictors = opened(poll_s=60)

    assert predictors.champion(SEVEN) is base
    assert predictors.champion(SIX).version == two[1]


def test_an_object_is_finished_on_its_version(
    opened: Open, here: Registry, base: Predictor, two: tuple[str, str]
) -> None:
    here.promote(two[1], who="ann")
    predictors = opened()

    assert predictors.begun_with(two[0], SIX).version == two[0]
    assert predictors.begun_with(base.version, SIX) is base
    assert predictors.begun_with("", SIX).version == two[1]


def test_the_champion_replaces_a_deleted_version(
    opened: Open, here: Registry, two: tuple[str, str]
) -> None:
    here.promote(two[1], who="ann")
    predictors = opened()
    with here.database.write() as connection:
        connection.execute(
            text("update versions set state = 'pruned' where name = :n"), {"n": two[0]}
        )

    assert predictors.begun_with(two[0], SIX).version == two[1]
    assert predictors.begun_with("unknown", SIX).version == two[1]


@pytest.mark.timed
def test_a_store_that_hangs_delays_one_click_at_most(
    opened: Open, here: Registry, two: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    here.promote(two[1], who="ann")
    predictors = opened()
    until(serves(predictors, two[1]))
    ended, load = threading.Event(), predictors._loaded._load
    monkeypatch.setattr(
        predictors._loaded, "_load", lambda version: ended.wait(20) and load(version)
    )
    monkeypatch.setattr("backend.registry.serving._WAIT_S", 0.3)

    waited = []
    for _ in range(3):
        started = time.perf_counter()
        assert predictors.begun_with(two[0], SIX).version == two[1]
        waited.append(time.perf_counter() - started)
    ended.set()

    assert waited[0] >= 0.3
    assert max(waited[1:]) < 0.2
    until(lambda: predictors.begun_with(two[0], SIX).version == two[0])


def test_all_versions_share_one_cache_and_one_thread(
    opened: Open, here: Registry, base: Predictor, two: tuple[str, str]
) -> None:
    here.promote(two[0], who="ann")
    champion = opened().champion(SIX)

    assert champion._cache is base._cache
    assert champion._queue is base._queue


def test_memory_is_limited_and_the_new_champion_stays(
    opened: Open, here: Registry, base: Predictor, make_checkpoint: MakeCheckpoint
) -> None:
    predictors = opened(max_bytes=int(2.5 * base.nbytes))
    projects = [Project(number, "1") for number in range(10, 15)]
    names = []
    for project in projects:
        version = here.add(make_checkpoint(project.id), project=project.key).name
        here.promote(version, who="ann")
        until(serves(predictors, version, project))
        names.append(version)

    loaded = [name for name in names if name in predictors._loaded]
    assert len(loaded) == 2
    assert names[-1] in loaded
    # The others are loaded when they are requested, so that none is evicted and loaded in turns.
    time.sleep(0.3)
    assert [name for name in names if name in predictors._loaded] == loaded
    assert predictors.champion(projects[0]).version == names[0]


def test_a_change_of_champion_calls_back(
    opened: Open, here: Registry, two: tuple[str, str]
) -> None:
    seen: list[set[str]] = []
    predictors = opened(changed=lambda: seen.append(predictors.serving()))

    here.promote(two[0], who="ann")
    until(lambda: bool(seen) and two[0] in seen[-1])
    here.rollback(SIX.key, who="ann")
    until(lambda: two[0] not in seen[-1])


def test_a_database_failure_changes_nothing_and_is_logged_once(
    opened: Open,
    here: Registry,
    two: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from backend.errors import DatabaseError

    here.promote(two[0], who="ann")
    predictors = opened()
    until(serves(predictors, two[0]))

    def away() -> int:
        raise DatabaseError("The database failed: locked.")

    with monkeypatch.context() as patched:
        patched.setattr(here, "last_promotion", away)
        until(lambda: "cannot be read" in caplog.text)
        assert predictors.champion(SIX).version == two[0]
    here.promote(two[1], who="ann")
    until(serves(predictors, two[1]))
    assert caplog.text.count("cannot be read") == 1


# -- what is kept in memory


def test_concurrent_requests_load_a_version_once(base: Predictor) -> None:
    calls = []

    def load(version: str) -> Predictor:
        calls.append(version)
        time.sleep(0.05)
        return base

    loaded = ModelCache(load, 100 * MIB)
    got: list[Predictor | None] = []
    threads = [threading.Thread(target=lambda: got.append(loaded.wait("a", 5))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == ["a"]
    assert got == [base] * 8
    loaded.close()
