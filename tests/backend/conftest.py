"""Fixtures of the backend's tests: a predictor with random weights, a host of pictures, recorded
requests, and requests as Label Studio's page makes them."""

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import SecretStr

from backend.api.service import Service
from backend.settings import Settings
from backend.worker.webhook_inbox import WebhookInbox
from model import checkpoint
from model.config import ModelConfig
from model.network.phraseclick import PhraseClick
from model.predictor import Predictor
from tests.backend.databases import copy_tables, database, migrated, postgres, spares
from tests.backend.hosts import Request, http_host
from tests.backend.servers import client_of

# Fixtures of another file, under the names that tests use.
__all__ = ["database", "migrated", "postgres", "spares"]

PAYLOADS = Path(__file__).parents[1] / "payloads"
RECORDED_CONFIG = (PAYLOADS / "recorded_label_config.xml").read_text()
TRIED_CONFIG = (PAYLOADS / "tried_label_config.xml").read_text()

# Words of the recorded phrases and labels; "zebroid" is missing on purpose.
WORDS = ["the", "red", "cat", "dog", "two", "cats", "left", "person", "on", "bench"]


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights, so its masks are arbitrary.

    The first seed whose masks for "cat" and "the dog" are neither empty nor full: 21 with today's
    torch.
    """
    config = ModelConfig(
        input_size=96, channels=32, word_dim=8, phrase_dim=4, attributes=("red", "dog")
    )
    vectors = np.random.default_rng(2).normal(size=(len(WORDS), 8)).astype(np.float32)
    picture = np.asarray(Image.open(io.BytesIO(photograph((640, 480)))))
    for seed in range(21, 121):
        torch.manual_seed(seed)
        path = tmp_path_factory.mktemp("checkpoints") / "random"
        checkpoint.save(path, PhraseClick(config).eval(), WORDS, vectors)
        predictor = Predictor(path, device="cpu")
        embedding = predictor.encode(picture)
        shares = [
            predictor.predict(embedding, [], phrase).mask().mean() for phrase in ("cat", "the dog")
        ]
        if all(0.02 < share < 0.98 for share in shares):
            return path
    raise AssertionError("no random network sees anything")


@pytest.fixture(scope="session")
def predictor(random_checkpoint: Path) -> Predictor:
    return Predictor(random_checkpoint, device="cpu")


# -- pictures


@dataclass
class PictureHost:
    """Serves pictures like Label Studio, and records each request and its token."""

    url: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    trouble: int | None = None  # a status with which it answers every request

    def add(self, path: str, size: tuple[int, int] = (640, 480), seed: int = 0) -> str:
        """Add a picture at this path, and return the path."""
        self.pictures[path] = photograph(size, seed)
        return path


def photograph(size: tuple[int, int], seed: int = 0) -> bytes:
    """A PNG with blobs of colour."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def _running_host() -> Iterator[PictureHost]:
    host = PictureHost()

    def answer(request: Request, _: bytes) -> tuple[int, bytes]:
        host.asked.append((request.path, request.headers.get("Authorization", "")))
        content = host.pictures.get(request.path.partition("?")[0])
        if host.trouble or content is None:
            return host.trouble or 404, b""
        return 200, content

    with http_host(answer) as host.url:
        yield host


@pytest.fixture
def picture_host(_running_host: PictureHost) -> PictureHost:
    """Empty at the start of each test."""
    _running_host.pictures.clear()
    _running_host.asked.clear()
    _running_host.trouble = None
    return _running_host


# -- the service


@pytest.fixture(autouse=True)
def _patient_webhooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook is a row when the call returns."""
    add = WebhookInbox.add

    def add_and_wait(inbox: WebhookInbox, *webhook: Any) -> None:
        add(inbox, *webhook)
        deadline = time.monotonic() + 20
        while list(inbox._folder.glob("*.webhook")) and time.monotonic() < deadline:
            time.sleep(0.002)

    monkeypatch.setattr(WebhookInbox, "add", add_and_wait)


@pytest.fixture
def settings(tmp_path: Path, random_checkpoint: Path, picture_host: PictureHost) -> Settings:
    return Settings(
        data=tmp_path / "data",
        checkpoint=str(random_checkpoint),
        label_studio_url=picture_host.url,
        label_studio_token=SecretStr("0123456789abcdef0123456789abcdef01234567"),
        device="cpu",
    )


@pytest.fixture
def open_service(predictor: Predictor, migrated: Path) -> Iterator[Callable[[Settings], Service]]:
    """Opens services that are closed at the end of the test."""
    opened: list[Service] = []

    def opening(settings: Settings, base: Predictor = predictor) -> Service:
        copy_tables(migrated, settings)
        opened.append(Service(settings, base))
        return opened[-1]

    yield opening
    for service in opened:
        service.close()


@pytest.fixture
def service(settings: Settings, open_service: Callable[[Settings], Service]) -> Service:
    return open_service(settings)


@pytest.fixture
def http(settings: Settings, service: Service) -> Iterator[httpx.Client]:
    """A client of a real server on a free port."""
    yield from client_of(settings, service)


# -- requests of the page


class Page:
    """Makes requests as Label Studio's page does, and reads the answers."""

    recorded_config = RECORDED_CONFIG
    tried_config = TRIED_CONFIG
    payloads = PAYLOADS

    @staticmethod
    def click(
        number: int | str,
        x: float,
        y: float,
        *,
        positive: bool = True,
        label: str = "Cat",
        control: str = "kp",
        size: tuple[int, int] = (640, 480),
    ) -> dict[str, Any]:
        """A key point as the page sends it; x and y in percent."""
        return {
            "original_width": size[0],
            "original_height": size[1],
            "image_rotation": 0,
            "value": {"x": x, "y": y, "width": 0.26, "labels": [label], "keypointlabels": [label]},
            "is_positive": positive,
            "id": f"click-{number}",
            "from_name": control,
            "to_name": "image",
            "type": "keypointlabels",
            "origin": "manual",
        }

    @staticmethod
    def phrase(text: str, number: int | str = 1) -> dict[str, Any]:
        """An entered phrase."""
        return {
            "value": {"text": [text]},
            "id": f"phrase-{number}",
            "from_name": "phrase",
            "to_name": "image",
            "type": "textarea",
            "origin": "manual",
        }

    @staticmethod
    def request(
        context: Sequence[Mapping[str, Any]] | None,
        *,
        address: str = "/data/upload/6/a.png",
        task: int = 24,
        config: str = TRIED_CONFIG,
        project: str = "6.1795384361",
        **task_fields: Any,
    ) -> dict[str, Any]:
        """The body of a ``/predict`` for one task."""
        return {
            "tasks": [{"id": task, "project": 6, "data": {"image": address}, **task_fields}],
            "project": project,
            "label_config": config,
            "params": {
                "login": None,
                "password": None,
                "context": None if context is None else {"result": list(context)},
            },
        }

    @staticmethod
    def region(answer: Mapping[str, Any]) -> dict[str, Any]:
        """The one brush region of an interactive answer."""
        (result,) = answer["results"]
        (brush,) = [item for item in result["result"] if "rle" in item["value"]]
        return dict(brush)

    @staticmethod
    def status(answer: Mapping[str, Any]) -> str:
        """The one sentence of an interactive answer."""
        (result,) = answer["results"]
        (textarea,) = [item for item in result["result"] if item["id"] == "status"]
        return str(textarea["value"]["text"][0])

    @staticmethod
    def recorded(name: str) -> dict[str, Any]:
        """The body of a request as Label Studio sent it."""
        body: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())["body"]
        return body


@pytest.fixture(scope="session")
def page() -> Page:
    return Page()
