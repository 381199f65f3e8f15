"""Batches: one result each, whatever happens; the phrase from the data or the label names."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from backend.api.service import Service
from backend.interaction import preannotate
from backend.label_studio import rle
from backend.registry.serving import Predictors
from backend.settings import Settings
from model.phrase_search import PhraseSearch
from model.predictor import Embedding, Instances, Predictor
from model.tokenizer import Tokens


def body(page: Any, tasks: list[dict[str, Any]], config: str = "") -> dict[str, Any]:
    return {**page.request(None, config=config or page.tried_config), "tasks": tasks}


def test_the_phrase_of_the_tasks_data_makes_the_mask(
    service: Service, page: Any, tasks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preannotate, "LEAST_CONFIDENCE", 0.0)
    for task in tasks:
        task["data"]["phrase"] = "the dog on the bench"

    answers = service.predict(body(page, tasks))["results"]

    assert len(answers) == 3
    for answer in answers:
        assert answer["model_version"] == service.version
        assert 0 <= answer["score"] <= 1
        for region in answer["result"]:
            assert region["value"]["brushlabels"] == ["Dog"]
            assert region["score"] == pytest.approx(answer["score"], abs=1e-4)
            mask = rle.decode(region["value"]["rle"], 640, 480)
            assert mask.any()


@pytest.mark.parametrize("phrase", ["cats", "Cat", ""])
def test_each_object_of_a_plural_or_a_label_is_a_region(
    service: Service,
    page: Any,
    tasks: list[dict[str, Any]],
    two_cats: None,
    phrase: str,
) -> None:
    for task in tasks:
        task["data"]["phrase"] = phrase

    # when
    answers = service.predict(body(page, tasks))["results"]

    # then
    for answer in answers:
        regions = answer["result"]
        assert [region["value"]["brushlabels"] for region in regions] == [["Cat"], ["Cat"]]
        assert [region["score"] for region in regions] == [0.9, 0.6]
        assert answer["score"] == 0.6
        masks = [rle.decode(region["value"]["rle"], 640, 480) for region in regions]
        assert masks[0][120, 120]
        assert masks[1][120, 320]
        assert not (masks[0] & masks[1]).any()
    ids = [region["id"] for answer in answers for region in answer["result"]]
    assert len(set(ids)) == 6
    assert service.predict(body(page, tasks))["results"] == answers


def test_a_phrase_that_finds_nothing_sure_draws_nothing(
    service: Service, page: Any, tasks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preannotate, "LEAST_CONFIDENCE", 1.1)
    tasks[0]["data"]["phrase"] = "the dog on the bench"

    (answer,) = service.predict(body(page, tasks[:1]))["results"]

    assert answer["result"] == []
    assert 0 < answer["score"] <= 1


def test_a_phrase_counts_for_a_single_task_too(
    service: Service, page: Any, tasks: list[dict[str, Any]]
) -> None:
    tasks[0]["data"]["phrase"] = "cat"

    (answer,) = service.predict(body(page, tasks[:1]))["results"]

    assert answer["score"] is not None


@pytest.mark.parametrize("most", [20, 1])
def test_a_label_is_asked_of_the_version_that_serves_it(
    most: int,
    service: Service,
    predictor: Predictor,
    page: Any,
    tasks: list[dict[str, Any]],
    two_cats: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # given a champion that has not learned "Cat", and room for one label or for all
    monkeypatch.setattr("backend.interaction.preannotate._MOST_LABELS", most)
    base = copy.copy(predictor)
    base.version = "base"
    asked: set[tuple[str, str, str]] = set()
    by_name = Predictor.instances_by_name

    def noted(self: Predictor, embedding: Embedding, names: Sequence[str], least: float) -> Any:
        asked.update((self.version, embedding.version, name) for name in names)
        return by_name(self, embedding, names, least)

    monkeypatch.setattr(Predictor, "instances_by_name", noted)
    monkeypatch.setattr(
        Predictors,
        "for_label",
        lambda self, project, label: base if label == "Cat" else self.champion(project),
    )
    # when
    answers = service.predict(body(page, tasks))["results"]
    # then
    version = answers[0]["model_version"]
    of_base = {("base", "base", "Cat")} if most > 1 else set()
    assert asked == {*of_base, (version, version, "Dog")}
    assert most == 1 or all(len(answer["result"]) == 2 for answer in answers)


def test_an_unsure_label_gives_no_mask_but_its_score(
    service: Service, page: Any, tasks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preannotate, "_LEAST_CONFIDENCE", 1.1)

    for answer in service.predict(body(page, tasks))["results"]:
        assert answer["result"] == []
        assert 0 <= answer["score"] <= 1


def test_no_masks_from_label_names_where_the_setting_says_so(
    settings: Settings,
    open_service: Callable[[Settings], Service],
    page: Any,
    tasks: list[dict[str, Any]],
    two_cats: None,
) -> None:
    service = open_service(settings.model_copy(update={"label_masks": "never"}))

    answers = service.predict(body(page, tasks))["results"]

    assert [answer["result"] for answer in answers] == [[], [], []]
    assert all(answer["score"] is not None for answer in answers)


def test_a_picture_without_objects_is_as_sure_as_its_names_and_answered_once(
    service: Service, page: Any, tasks: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given names that find nothing, one of them surely
    def nothing(_: object, __: Embedding, phrases: Sequence[str], ___: float) -> Any:
        sure = {"Cat": 0.3, "Dog": 0.7}
        return [Instances((), Tokens((), (), (), np.zeros((0, 8))), sure[name]) for name in phrases]

    monkeypatch.setattr(PhraseSearch, "instances", nothing)
    monkeypatch.setattr(Predictor, "predict", None)
    # when
    answers = service.predict(body(page, tasks))["results"]
    # then
    assert [(answer["result"], answer["score"]) for answer in answers] == [([], 0.7)] * 3


def test_a_single_task_is_prefilled_only_where_the_setting_says_so(
    settings: Settings,
    open_service: Callable[[Settings], Service],
    page: Any,
    tasks: list[dict[str, Any]],
    two_cats: None,
) -> None:
    opened = open_service(settings).predict(body(page, tasks[:1]))["results"]
    always = open_service(settings.model_copy(update={"label_masks": "always"}))
    filled = always.predict(body(page, tasks[:1]))["results"]

    assert opened == [[]]
    assert filled[0]["result"]
