"""Label Studio's API, as far as this project uses it, and retries while it is down.

An answer that refuses the call is not retried: waiting would not change it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from backend.errors import LabelStudioError, TokenError
from backend.label_studio.host import Host, Json

# An interactive call waits for this backend; Label Studio allows it 100 s.
_INTERACTIVE_TIMEOUT_S = (5.0, 110.0)


class LabelStudio(Host):
    """The calls that connecting, checking, the demo and scoring need. Thread-safe."""

    def whoami(self) -> Json:
        return self.get("/api/current-user/whoami")

    def version(self) -> Json:
        return self.get("/api/version")

    def project(self, project: int) -> Json:
        """One project, with ``label_config`` and ``model_version``."""
        return self.get(f"/api/projects/{project}/")

    def create_project(self, title: str, label_config: str) -> Json:
        return self.post("/api/projects/", {"title": title, "label_config": label_config})

    def patch_project(self, project: int, **fields: Any) -> Json:
        """Change fields of a project, such as ``model_version`` or ``label_config``."""
        return self.patch(f"/api/projects/{project}/", fields)

    def ml_backends(self, project: int) -> list[Json]:
        return self.listed("/api/ml/", project=project)

    def create_ml_backend(self, project: int, url: str, title: str, **fields: Any) -> Json:
        """Connect the backend at ``url``, for interactive use unless ``fields`` say otherwise."""
        body = {"project": project, "url": url, "title": title, "is_interactive": True, **fields}
        return self.post("/api/ml/", body)

    def patch_ml_backend(self, backend: int, **fields: Any) -> Json:
        return self.patch(f"/api/ml/{backend}", fields)

    def delete_ml_backend(self, backend: int) -> None:
        self.delete(f"/api/ml/{backend}")

    def webhooks(self, project: int) -> list[Json]:
        return self.listed("/api/webhooks/", project=project)

    def create_webhook(self, project: int, url: str, headers: Mapping[str, str]) -> Json:
        """Send every event of a project, with its payload, to ``url``."""
        return self.post("/api/webhooks/", {"project": project, **_webhook(url, headers)})

    def update_webhook(self, webhook: int, url: str, headers: Mapping[str, str]) -> Json:
        """Change a webhook's address and headers, and switch it on."""
        return self.patch(f"/api/webhooks/{webhook}/", _webhook(url, headers))

    def delete_webhook(self, webhook: int) -> None:
        self.delete(f"/api/webhooks/{webhook}/")

    def upload(self, project: int, name: str, content: bytes) -> list[int]:
        """Add a task from an uploaded file, such as a picture; returns the ids."""
        body = self.call(
            "POST",
            f"/api/projects/{project}/import",
            params={"return_task_ids": "true"},
            files={name: (name, content)},
        )
        return [int(task) for task in body["task_ids"]]

    def task(self, task: int) -> Json:
        return self.get(f"/api/tasks/{task}/")

    def tasks(self, project: int, **params: Any) -> Iterator[Json]:
        """Every task of a project; ``fields="all", only_annotated="true"``: with annotations."""
        return self.pages("/api/tasks", items="tasks", project=project, **params)

    def annotated_tasks(self, project: int) -> Iterator[Json]:
        """Every task with an annotation, skipped or not. The annotations are not included; their
        counts are, and ``updated_at``, which changes with them."""
        counts = ("total_annotations", "cancelled_annotations")
        items = [
            {"filter": f"filter:tasks:{name}", "operator": "greater", "type": "Number", "value": 0}
            for name in counts
        ]
        query = {"filters": {"conjunction": "or", "items": items}}
        return self.tasks(project, resolve_uri="false", query=json.dumps(query))

    def tasks_of(self, project: int, tasks: Sequence[int], **params: Any) -> list[Json]:
        """Those of up to a page of tasks that exist: data and counts, addresses as imported.
        ``fields="all"``: with all annotations, skipped ones included.

        Unlike ``task``, this does not make Label Studio ask its ML backends for predictions.
        """
        if not tasks:
            return []
        query = json.dumps({"selectedItems": {"all": False, "included": list(tasks)}})
        params |= {"resolve_uri": "false", "query": query, "page_size": len(tasks)}
        return list(islice(self.tasks(project, **params), len(tasks)))

    def predictions(self, task: int) -> list[Json]:
        return self.listed("/api/predictions/", task=task)

    def create_prediction(self, task: int, prediction: Json) -> Json:
        return self.post("/api/predictions/", {"task": task, **prediction})

    def patch_prediction(self, prediction: int, **fields: Any) -> Json:
        return self.patch(f"/api/predictions/{prediction}/", fields)

    def delete_prediction(self, prediction: int) -> None:
        """Remove a prediction; annotations that were made from it stay."""
        self.delete(f"/api/predictions/{prediction}/")

    def annotations(self, task: int) -> list[Json]:
        return self.listed(f"/api/tasks/{task}/annotations/")

    def create_annotation(self, task: int, result: Sequence[Json], **fields: Any) -> Json:
        """Submit an annotation, as an annotator's Submit does; fields such as ``lead_time``."""
        body = {"result": list(result), **fields}
        return self.post(f"/api/tasks/{task}/annotations/", body)

    def interactive_annotating(self, backend: int, task: int, context: Json) -> Json:
        """Ask the backend for one task, as a click or phrase in the page does."""
        return self._object(
            "POST",
            f"/api/ml/{backend}/interactive-annotating",
            json={"task": task, "context": context},
            timeout=_INTERACTIVE_TIMEOUT_S,
        )


def _webhook(url: str, headers: Mapping[str, str]) -> Json:
    return {
        "url": url,
        "headers": dict(headers),
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": True,
    }


# About ten minutes together: an update with migrations, or a machine that restarts.
PAUSES_S: tuple[float, ...] = (2.0, 5.0, 15.0, 30.0, 60.0, 60.0, 120.0, 300.0)
# Between two checks during a pause.
_CHECK_S = 0.5

T = TypeVar("T")


def with_retries(
    call: Callable[[], T],
    *,
    waiting: Callable[[str], None],
    check: Callable[[], None],
) -> T:
    """The result of ``call``, repeated after a pause while Label Studio is down.

    waiting: called with the reason before each pause. check: called during pauses; an exception
    ends the wait. Raises LabelStudioError if it is still down after all pauses, or refuses.
    """

    for seconds in PAUSES_S:
        try:
            return call()
        except LabelStudioError as error:
            # Not reached, or failing, rather than refusing.
            failing = error.answered is None or error.answered >= 500 or error.answered == 429
            if isinstance(error, TokenError) or not failing:
                raise
            waiting(str(error))
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            check()
            time.sleep(min(left, _CHECK_S))
    return call()
