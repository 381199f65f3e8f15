"""What a task's pictures would cost an annotator, as the serving version sees them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from backend.images.embeddings import Embeddings, Place
from backend.images.loader import Pictures
from backend.interaction.preannotate import Preannotation
from backend.label_studio.config import ImageControls, LabelConfig
from backend.label_studio.host import Json
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.label_studio.projects import LabelStudioHosts
from backend.learning.scores import Found, Method
from backend.metrics import Metrics
from backend.settings import Settings
from model.errors import PhraseClickError
from model.predictor import Predictor
from training.acquisition import acquisition

_log = logging.getLogger(__name__)

# A picture is looked at once: only what belongs to it and a few others is kept.
_CACHE_BYTES = 64 * 2**20


class Looking:
    """One version looking at one project's tasks; a closed one looks no more."""

    def __init__(
        self,
        checkpoint: Path,
        settings: Settings,
        hosts: LabelStudioHosts,
        project: Project,
        config: LabelConfig,
        method: Method,
    ) -> None:
        self._predictor = Predictor(
            checkpoint,
            device=settings.training_device,
            cache_bytes=_CACHE_BYTES,
            threads=settings.training_threads,
        )
        self._project = project
        self._config = config
        self._method = method
        self._pictures = Pictures(settings, hosts)
        metrics = Metrics()
        self._embeddings = Embeddings(self._pictures, metrics)
        self._batch = Preannotation(self._embeddings, self._predictor, metrics, "always")

    def close(self) -> None:
        """Let go of its threads."""
        self._embeddings.close()

    def look(self, task: Task) -> Found:
        """What the task would cost; one that cannot be looked at says why."""
        number = task.id or 0
        try:
            looks = [self._image(task, image) for image in self._config.images]
        except Exception as error:  # one broken picture must not cost the others their scores
            if not isinstance(error, PhraseClickError):
                _log.exception("Task %s of project %s", number, self._project.key)
            return Found(number, error=str(error) or type(error).__name__)
        costs, doubts, descriptors = zip(*looks, strict=True)
        # As exact as it is kept: what is read again must not change the order.
        shows = np.mean(descriptors, axis=0).astype(np.float16).astype(np.float32)
        return Found(number, float(np.mean(costs)), float(np.mean(doubts)), shows)

    def masks(self, task: Task) -> list[Json]:
        """Regions by the task's phrase or the label names, as for "Retrieve predictions"."""
        request = PredictRequest(self._project, (task,), "", interactive=False)
        (answer,) = self._batch.answers(request, self._config)
        return list(answer["result"])

    def _image(self, task: Task, image: ImageControls) -> tuple[float, float, np.ndarray]:
        """What is expected of one picture, how unsure the network is of it, and what is on it."""
        place = Place.of(task, image, self._project)
        picture = self._pictures.read(place.address, self._project.id, place.task_id)
        phrase = image.batch_phrase(task.data)
        names = (phrase,) if phrase else tuple(label.value for _, label in image.labels)
        seed = task.id or 0
        if self._method in ("clicks", "saving"):
            told = acquisition.expected_clicks(
                self._predictor, picture.array, picture.key, names, seed=seed
            )
            cost = told.clicks if self._method == "clicks" else told.saving
            doubt = told.uncertainty
        elif self._method == "uncertainty":
            doubt = acquisition.uncertainty(self._predictor, picture.array, picture.key, names)
            cost = doubt
        else:
            cost, doubt = float(np.random.default_rng(seed).random()), 0.0
        shows = acquisition.descriptor(self._predictor, picture.array, picture.key)
        return cost, doubt, shows
