"""The backend as a ``LabelStudioMLBase`` subclass, for users of label-studio-ml's own server.

Supports both of its APIs: 1.0.9 (on PyPI) and 2.x (on GitHub). The manager of 1.0.9 is replaced,
because it

- drops the project and the labeling config of a prediction request;
- reports every model version as INITIAL, so Label Studio predicts the same tasks again and again;
- forks a process for each webhook, which loads the model again and leaves a folder behind.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from label_studio_ml import api
from label_studio_ml import model as stock
from label_studio_ml.model import LabelStudioMLBase

from backend.api.service import Service
from backend.label_studio.payloads import Project
from backend.settings import get_settings

_log = logging.getLogger(__name__)

_guard = threading.Lock()
_service: Service | None = None


def shared_service(
    opening: Callable[[], Service] = lambda: Service.open(get_settings()),
) -> Service:
    """The service that all instances share, since label-studio-ml creates many instances."""
    global _service
    with _guard:
        if _service is None:
            _service = opening()
        return _service


def close() -> None:
    """Close the shared service; the next call opens it again."""
    global _service
    with _guard:
        if _service is not None:
            _service.close()
        _service = None


class PhraseClickBackend(LabelStudioMLBase):  # type: ignore[misc]
    """Click and phrase segmentation in label-studio-ml's server."""

    def __init__(
        self,
        project_id: str | None = None,
        label_config: str | None = None,
        train_output: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        # Not super().__init__(): its parser rejects some configs that Label Studio accepts. The
        # service parses the config.
        self.project_id = project_id
        self.label_config = label_config
        self.train_output = train_output or {}
        self.hostname = kwargs.get("hostname") or ""
        self.access_token = kwargs.get("access_token") or ""

    @property
    def model_version(self) -> str:
        service = shared_service()
        if self.project_id in (None, ""):
            return service.version
        return service.version_for(Project.read(self.project_id))

    def predict(
        self,
        tasks: Sequence[Mapping[str, Any]],
        context: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """One prediction per task. ``context`` is None for a batch."""
        project = kwargs.get("project") or self.project_id
        if not project and tasks:
            project = tasks[0].get("project")
        answer = shared_service().predict(
            {
                "tasks": list(tasks),
                "project": project if project not in (None, "") else 0,
                "label_config": kwargs.get("label_config") or self.label_config,
                "params": {"context": context},
            }
        )
        results: list[dict[str, Any]] = answer["results"]
        return results

    def fit(
        self, event: Any, data: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Store an event for the worker; returns at once.

        1.0.9's ``/train`` passes annotations instead of an event's name. They are ignored, since
        the worker reads annotations from Label Studio.
        """
        if isinstance(event, str) and data is not None:
            body = {**data, "action": event}
            shared_service().webhook(orjson.dumps(body), body)
        return {}

    def process_event(
        self, event: str, data: Mapping[str, Any], job_id: Any, additional_params: Any
    ) -> None:
        """Called by 1.0.9 for each webhook. Returns nothing: 1.0.9 would store it as a version."""
        self.fit(event, data)

    def setup_project(self, project: Any, label_config: Any) -> str:
        """Handle ``/setup``; returns the version. Raises LabelConfigError."""
        answer = shared_service().setup(
            {
                "project": project,
                "schema": label_config,
                "hostname": self.hostname,
                "access_token": self.access_token,
            }
        )
        return str(answer["model_version"])


class Manager(stock.LabelStudioMLManager):  # type: ignore[misc]
    """1.0.9's manager without the problems above."""

    @classmethod
    def fetch(
        cls,
        project: Any = None,
        label_config: Any = None,
        force_reload: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Called by ``/setup``."""
        model = cls.model_class(project_id=project, label_config=label_config, **kwargs)
        version = model.setup_project(project, label_config)
        cls._current_model = stock.ModelWrapper(model=model, model_version=version)
        return cls._current_model

    @classmethod
    def predict(
        cls,
        tasks: Any,
        project: Any = None,
        label_config: Any = None,
        force_reload: bool = False,
        try_fetch: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Called by ``/predict``, also without an earlier ``/setup`` in this process."""
        model = cls.model_class(project_id=project, label_config=label_config)
        context = kwargs.get("context")
        answers = model.predict(tasks, context, project=project, label_config=label_config)
        return answers, stock.ModelWrapper(model=model, model_version=model.model_version)

    @classmethod
    def webhook(cls, event: Any, data: Any) -> Any:
        """Called by ``/webhook``. Runs in this process, which has the model loaded."""
        cls.model_class().process_event(event, data, None, None)
        return {}


# label-studio-ml's routes look up the manager in their module at each call, so
# label_studio_ml.api.init_app(PhraseClickBackend, …) uses this one.
if not isinstance(api._manager, Manager):
    api._manager = Manager()
