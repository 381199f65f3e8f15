"""A fake Label Studio in memory, with what scoring needs, and a fake of a job's progress."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.errors import LabelStudioError
from tests.backend.conftest import TRIED_CONFIG, photograph

PROJECT = "6.1795384361"


@dataclass
class Studio:
    """One project with its tasks and predictions. ``away``: the number of calls that fail."""

    sampling: str = "Uncertainty sampling"
    label_config: str = TRIED_CONFIG
    held: dict[int, dict[str, Any]] = field(default_factory=dict)
    made: dict[int, dict[str, Any]] = field(default_factory=dict)
    away: int = 0
    calls: list[str] = field(default_factory=list)
    before_call: Callable[[str], None] = lambda name: None
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def add(self, *seeds: int, **data: Any) -> list[int]:
        """Add tasks with a picture each; returns their ids."""
        added = []
        for seed in seeds:
            content = base64.b64encode(photograph((160, 120), seed)).decode()
            number = 100 + len(self.held)
            image = {"image": f"data:image/png;base64,{content}"}
            self.held[number] = {"id": number, "data": image | data, "is_labeled": False}
            added.append(number)
        return added

    def order(self, version: str) -> list[int]:
        """The order in which it would serve the tasks: the version's lowest score first."""
        scores: dict[int, float] = {}
        for prediction in self.made.values():
            if (
                prediction["model_version"] == version
                and not self.held[prediction["task"]]["is_labeled"]
            ):
                scores[prediction["task"]] = min(
                    prediction["score"], scores.get(prediction["task"], 2.0)
                )
        return sorted(scores, key=lambda task: scores[task])

    # -- as backend.label_studio.client has it

    def of(self, project: int) -> Studio:
        return self

    def project(self, project: int) -> dict[str, Any]:
        self._call("project")
        return {"id": project, "sampling": self.sampling, "label_config": self.label_config}

    def patch_project(self, project: int, **fields: Any) -> dict[str, Any]:
        self._call("patch_project")
        self.sampling = fields["sampling"]
        return self.project(project)

    def version(self) -> dict[str, Any]:
        self._call("version")
        return {}

    def tasks(self, project: int, **params: Any) -> Iterator[dict[str, Any]]:
        self._call("tasks")
        for task in self.held.values():
            many = sum(1 for prediction in self.made.values() if prediction["task"] == task["id"])
            yield task | {"total_predictions": many}

    def tasks_of(self, project: int, tasks: Sequence[int]) -> list[dict[str, Any]]:
        self._call("tasks_of")
        return [self.held[task] for task in tasks if task in self.held]

    def predictions(self, task: int) -> list[dict[str, Any]]:
        self._call("predictions")
        return [prediction for prediction in self.made.values() if prediction["task"] == task]

    def create_prediction(self, task: int, prediction: Mapping[str, Any]) -> dict[str, Any]:
        self._call("create")
        if task not in self.held:
            raise LabelStudioError("Label Studio answered 400: no such task.", answered=400)
        number = next(self.numbers)
        self.made[number] = {"id": number, "task": task, **prediction}
        return self.made[number]

    def patch_prediction(self, prediction: int, **fields: Any) -> dict[str, Any]:
        self._call("patch")
        self.made[prediction].update(fields)
        return self.made[prediction]

    def delete_prediction(self, prediction: int) -> None:
        self._call("delete")
        del self.made[prediction]

    def _call(self, name: str) -> None:
        self.before_call(name)
        if self.away:
            self.away -= 1
            raise LabelStudioError("Label Studio could not be reached (no connection).")
        self.calls.append(name)


@dataclass(frozen=True)
class Ask:
    """A job with what scoring reads."""

    project: str = PROJECT
    trigger: str = "hand"
    request: Mapping[str, Any] = field(default_factory=dict)
