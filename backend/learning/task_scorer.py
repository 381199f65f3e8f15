"""What a task's pictures would cost an annotator, as the serving version expects."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from backend.images.embeddings import Embeddings, TaskPicture
from backend.images.loader import Pictures
from backend.interaction.preannotate import Preannotation
from backend.label_studio.config import LabelConfig
from backend.label_studio.controls import ImageControls
from backend.label_studio.host import Json
from backend.label_studio.payloads import PredictRequest, Project, Task
from backend.label_studio.projects import LabelStudioHosts
from backend.learning.scores import TaskScore
from backend.metrics import Metrics
from backend.settings import Settings
from model.errors import PhraseClickError
from model.predictor import Predictor
from training import acquisition

_log = logging.getLogger(__name__)

# Each picture is scored once: only what belongs to it and a few others is kept.
_CACHE_BYTES = 64 * 2**20


class TaskScorer:
    """Scores one project's tasks with one version. Close it when done."""

    def __init__(
        self,
        checkpoint: Path,
        settings: Settings,
        hosts: LabelStudioHosts,
        project: Project,
        config: LabelConfig,
        method: acquisition.Method,
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
        self._preannotation = Preannotation(self._embeddings, self._predictor, metrics, "always")

    def close(self) -> None:
        """Stop its threads."""
        self._embeddings.close()

    def score(self, task: Task) -> TaskScore:
        """The task's score, or why it has none."""
        number = task.id or 0
        try:
            images = [self._image(task, image) for image in self._config.of(task.data).images]
        except Exception as error:  # one broken picture must not cost the others their scores
            if not isinstance(error, PhraseClickError):
                _log.exception("Task %s of project %s", number, self._project.key)
            return TaskScore(number, error=str(error) or type(error).__name__)
        costs, uncertainties, descriptors = zip(*images, strict=True)
        # As exact as it is stored, so that the order is the same after it is read again.
        descriptor = np.mean(descriptors, axis=0).astype(np.float16).astype(np.float32)
        cost, uncertainty = float(np.mean(costs)), float(np.mean(uncertainties))
        return TaskScore(number, cost, uncertainty, descriptor)

    def masks(self, task: Task) -> list[Json]:
        """Regions by the task's phrase or the label names, as for "Retrieve predictions"."""
        request = PredictRequest(self._project, (task,), "", interactive=False)
        (answer,) = self._preannotation.answers(request, self._config)
        return list(answer["result"]) if isinstance(answer, dict) else []

    def _image(self, task: Task, image: ImageControls) -> tuple[float, float, np.ndarray]:
        """One picture's expected cost, the network's uncertainty, and its descriptor."""
        place = TaskPicture.of(task, image, self._project)
        picture = self._pictures.read(place.address, self._project, place.task_id)
        phrase = image.batch_phrase(task.data)
        names = (phrase,) if phrase else tuple(label.value for _, label in image.labels)
        shown = self._predictor, picture.array, picture.key
        cost, uncertainty = acquisition.value(*shown, names, self._method, seed=task.id or 0)
        return cost, uncertainty, acquisition.descriptor(*shown)
