"""Pages of Label Studio on the real memory, and answers of the base model."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from backend.db.engine import Database
from backend.interaction.store import InteractionStore
from backend.registry.serving import Predictors
from backend.settings import Settings
from model.crop import Box
from model.phrase_search import PhraseSearch
from model.predictor import Embedding, Instance, Instances, Predictor
from tests.backend.interaction.page import PLAIN, Clock, OpenPage, Page


@pytest.fixture
def clock() -> Clock:
    """Noon."""
    return Clock()


@pytest.fixture
def open_page(database: Database, clock: Clock) -> OpenPage:
    """Open a page: ``open_page(auto_accept=True, config=PLAIN, settings=Settings(…))``."""

    def opened(settings: Settings | None = None, **values: Any) -> Page:
        memory = InteractionStore(
            database, settings or Settings(), knows=lambda text, version: text != "Dog"
        )
        return Page(memory, clock, **values)

    return opened


@pytest.fixture
def page_on(clock: Clock) -> OpenPage:
    """Open a page on a memory of one's own: ``page_on(memory, auto_accept=True)``."""
    return lambda memory, **values: Page(memory, clock, **values)


@pytest.fixture
def plain_config() -> str:
    """Without labels that refine the last object."""
    return PLAIN


# -- batches


@pytest.fixture
def tasks(picture_host: Any) -> list[dict[str, Any]]:
    addresses = [picture_host.add(f"/data/upload/6/{n}.png", seed=n) for n in range(3)]
    return [{"id": n, "data": {"image": address}} for n, address in enumerate(addresses)]


@pytest.fixture
def two_cats(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture shows two cats and no dog."""

    def cats(embedding: Embedding, words: str) -> Instances:
        pixels = np.ones((50, 40), np.bool_)
        boxes = [Box(100, 100, 140, 150), Box(300, 100, 340, 150)]
        objects = tuple(
            Instance(embedding.width, embedding.height, box, pixels, confidence)
            for box, confidence in zip(boxes, (0.9, 0.6), strict=True)
        )
        tokens = predictor.tokenizer.read(words)
        return Instances(objects if "cat" in words.lower() else (), tokens, 0.9)

    def found(_: object, embedding: Embedding, phrases: Sequence[str], __: float) -> Any:
        return [cats(embedding, phrase) for phrase in phrases]

    monkeypatch.setattr(PhraseSearch, "instances", found)


@pytest.fixture
def asked_of_base_for_cats(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> set[tuple[str, str, str]]:
    """What is asked where the champion has not learned "Cat": the versions that are asked and that
    encoded the picture, and the words."""
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
    return asked
