"""A simulated team labels and a model learns: every round is kept, and what it shows is counted."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from training.acquisition.acquisition import Budget
from training.data import VOID, Expression, PackDataset, Sample, SampleObject
from training.errors import DataError, RecipeError
from training.finetune.fine_tune import fine_tune
from training.finetune.recipe import FineTuneRecipe
from training.simulate import simulate as module
from training.simulate.curves import draw, sentences, summary, write
from training.simulate.simulate import Round, SimulationRecipe, read_rounds, simulate
from training.simulate.team import WHOLE, Labeled, WholePersons, names_of, split

SMALL = SimulationRecipe(
    rounds=2,
    pictures=1,
    objects=2,
    candidates=2,
    tests=2,
    most=2,
    fine_tune=FineTuneRecipe(
        steps=1, looks=1, minutes=60.0, crop=64, pictures=1, prompts=2, distillation=0.0
    ),
    budget=Budget(names=1, grid=1, objects=1, clicks=1, side=160),
)


class Dressed:
    """One picture of a person taken apart: a dress (1), hair (2) and a bag (3)."""

    sources: Sequence[str] = ("ccp",)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        instances = np.zeros((40, 30), np.int16)
        instances[10:35, 5:20] = 1
        instances[4:10, 8:16] = 2
        instances[20:30, 20:26] = 3
        image = np.zeros((40, 30, 3), np.uint8)
        return Sample("one", "ccp", image, instances, self.objects(index))

    def size(self, index: int) -> tuple[int, int]:
        return 30, 40

    def objects(self, index: int) -> tuple[SampleObject, ...]:
        return SampleObject(1, "dress"), SampleObject(2, "hair"), SampleObject(3, "bag")

    def expressions(self, index: int) -> tuple[Expression, ...]:
        return ()


def test_a_team_that_means_whole_persons_gets_them_whole() -> None:
    # given / when
    whole = WholePersons(Dressed())
    sample = whole[0]
    # then
    assert [(each.id, each.category) for each in whole.objects(0)] == [(WHOLE, "person")]
    taken_apart = Dressed()[0]
    assert np.array_equal(sample.mask(WHOLE), taken_apart.mask(1, 2))
    # and what is carried is neither right nor wrong
    assert np.array_equal(sample.instances == VOID, taken_apart.mask(3))


def test_no_picture_is_both_chosen_from_and_tested_on(shard: Path) -> None:
    # given / when
    dataset = PackDataset([shard])
    found = split(dataset, 1, per_source=5, tests=2)
    # then
    assert len(found.pool) == 3
    assert len(found.tested) == 2
    assert not set(found.pool) & {index for index, _ in found.tested}
    assert found == split(dataset, 1, per_source=5, tests=2)
    assert found != split(dataset, 2, per_source=5, tests=2)
    assert names_of(dataset, found.pool, 1) == ["dog"]


def test_a_stream_is_mixed_as_asked(shard: Path) -> None:
    # given / when
    dataset = PackDataset([shard])
    (source,) = set(dataset.sources)
    found = split(dataset, 1, per_source=5, tests=1, mixture={source: 3})
    # then
    assert len(found.pool) + len(found.tested) == 3
    # and what it does not name is left out
    none = split(dataset, 1, per_source=5, tests=1, mixture={"another": 3})
    assert not none.pool
    assert not none.tested


def test_what_was_not_labeled_is_not_there(shard: Path) -> None:
    # given a picture of which one of three things was labeled, by one click
    labeled = Labeled(PackDataset([shard]))
    labeled.clicks[4] = {2: ((120.0, 40.0, True),)}
    # when / then
    (about,) = labeled.objects(0)
    assert (about.id, about.clicks) == (2, ((120.0, 40.0, True),))
    assert labeled[0].objects == (about,)
    assert labeled[0].key == "picture-4"
    assert (len(labeled), labeled.count()) == (1, 1)


def test_a_simulation_goes_on_where_it_was(
    unlearned: Path, shard: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    # given a simulation that breaks off in its third training
    told: list[str] = []
    trained: list[Path] = []

    def broken(champion: Path, *rest: object, **more: object) -> object:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(champion)
        return fine_tune(champion, *rest, **more)  # type: ignore[arg-type]

    recipe = dataclasses.replace(SMALL, strategies=("clicks", "random"))
    monkeypatch.setattr(module, "fine_tune", broken)
    with pytest.raises(KeyboardInterrupt):
        simulate([shard], out=tmp_path, start=unlearned, seeds=(1,), recipe=recipe)
    monkeypatch.setattr(module, "fine_tune", fine_tune)
    half = read_rounds(tmp_path)
    assert [(each.strategy, each.number) for each in half] == [
        ("clicks", 1), ("random", 1), ("start", 0),
    ]  # fmt: skip
    # when it is started again
    found = simulate(
        [shard], out=tmp_path, start=unlearned, seeds=(1,), recipe=recipe, say=told.append
    )
    # then only what was missing was done
    assert len(told) == 2
    assert {(each.strategy, each.number) for each in found} == {
        ("start", 0), ("clicks", 1), ("clicks", 2), ("random", 1), ("random", 2),
    }  # fmt: skip
    # and a second round knows the labels of the first, begins with its model, chooses others
    by_name = {(each.strategy, each.number): each for each in found}
    for strategy in recipe.strategies:
        first, second = by_name[strategy, 1], by_name[strategy, 2]
        assert (first.labels, second.labels) == (2, 4)
        assert not set(first.pictures) & set(second.pictures)
        assert first.keys == second.keys == by_name["start", 0].keys
    # and another simulation does not mix with it
    with pytest.raises(RecipeError, match="another simulation"):
        simulate([shard], out=tmp_path, start=unlearned, seeds=(1,), recipe=SMALL)


def test_too_few_pictures_are_said(unlearned: Path, shard: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SMALL, tests=5)
    with pytest.raises(DataError, match="1 pictures are left"):
        simulate([shard], out=tmp_path, start=unlearned, seeds=(1,), recipe=recipe)


def made(seed: int, strategy: str, number: int, clicks: Sequence[int]) -> Round:
    keys = tuple(f"{seed}-{i}" for i in range(len(clicks)))
    first = tuple(1.0 / each for each in clicks)
    tested = tuple("voc" if i % 2 else "ccp" for i in range(len(clicks)))
    labels = 10 * number
    return Round(
        seed, strategy, number, labels, (1,), ("voc",), (2,), keys, tested, tuple(clicks), first
    )


@pytest.fixture
def rounds() -> list[Round]:
    """Two seeds in which expected clicks save more than chance, and one that is not finished."""
    start, chance, better = [4, 3, 5, 4, 2, 4], [3, 3, 4, 4, 2, 3], [2, 1, 2, 3, 1, 2]
    found = []
    for seed in (1, 2):
        found += [made(seed, "start", 0, start), made(seed, "random", 1, chance)]
        found.append(made(seed, "clicks", 1, better))
    return [*found, made(3, "start", 0, [1] * 6)]


def test_strategies_are_held_against_chance_object_by_object(rounds: list[Round]) -> None:
    # given / when
    figures = summary(rounds)
    # then
    assert figures["seeds"] == [1, 2]
    assert figures["curves"]["clicks"][0]["clicks"]["mean"] == pytest.approx(22 / 6)
    assert figures["saved"]["random"]["mean"] == pytest.approx(3 / 6)
    assert figures["saved"]["clicks"]["mean"] == pytest.approx(11 / 6)
    against = figures["against_chance"]["clicks"]["all rounds"]
    assert against["mean"] == pytest.approx(8 / 6)
    by_source = figures["against_chance"]["clicks"]["by source"]
    assert [(each, by_source[each]["n"]) for each in by_source] == [("ccp", 6), ("voc", 6)]
    assert by_source["ccp"]["mean"] == pytest.approx(4 / 3)
    assert 0 < against["interval"][0] < against["mean"] < against["interval"][1]
    assert figures["saved_by_source"]["clicks"]["ccp"]["before"] == pytest.approx(11 / 3)
    assert figures["chosen"]["clicks"] == {"voc": 2}
    assert any("better than chance" in each for each in sentences(figures))


def test_no_finished_seed_is_said() -> None:
    with pytest.raises(DataError, match="finished"):
        summary([made(1, "start", 0, [1, 2])])


def test_the_curves_are_drawn(rounds: list[Round], tmp_path: Path) -> None:
    figures = summary(rounds)
    for name in ("a.png", "b.png", "c.svg"):
        draw(figures, tmp_path / name)
    write(figures, tmp_path / "figures.json")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "<svg" in (tmp_path / "c.svg").read_text()
    assert '"against_chance"' in (tmp_path / "figures.json").read_text()
