"""A task's score as Label Studio keeps it: the ``score`` of one prediction of the serving version.

One prediction of ours a task: Label Studio would serve a task by the lowest of several, and those
of versions that served before are seen by nobody. What others predicted is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from backend.label_studio.client import LabelStudio
from backend.label_studio.host import Json


class Predictions:
    """Writes the scores of one version. Doing it twice does no harm."""

    def __init__(self, label_studio: LabelStudio, version: str, ours: Collection[str]) -> None:
        """ours: names of all versions whose predictions are this backend's to replace."""
        self._label_studio = label_studio
        self._version = version
        self._ours = frozenset(ours) | {version}

    def put(self, task: int, score: float, result: Sequence[Json] | None) -> None:
        """Give a task its score, and masks where there is a ``result``; None keeps those it has.

        Raises LabelStudioError.
        """
        there = [
            it
            for it in self._label_studio.predictions(task)
            if it.get("model_version") in self._ours
        ]
        mine = next((it for it in there if it.get("model_version") == self._version), None)
        fields: dict[str, Any] = {"score": score}
        if result is not None:
            fields["result"] = list(result)
        if mine is None:
            # First the new one: the task is never without.
            self._label_studio.create_prediction(
                task, {"result": [], "model_version": self._version, **fields}
            )
        else:
            self._label_studio.patch_prediction(mine["id"], **fields)
        for it in there:
            if it is not mine:
                self._label_studio.delete_prediction(it["id"])
