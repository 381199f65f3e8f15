"""Label Studio's API as this project uses it, and which Label Studio a project lives in."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from backend.errors import LabelStudioError
from backend.label_studio.credentials import kept_access
from backend.label_studio.host import Host, Json
from backend.settings import Settings

# An interactive call waits for this backend, for which Label Studio itself allows 100 s.
_INTERACTIVE_TIMEOUT_S = (5.0, 110.0)


class LabelStudio(Host):
    """The calls that connecting, checking, the demo and scoring need; safe in threads."""

    def whoami(self) -> Json:
        """The user whom the token belongs to."""
        return _object(self.get("/api/current-user/whoami"))

    def version(self) -> Json:
        """Label Studio's version and those of its packages."""
        return _object(self.get("/api/version"))

    def projects(self) -> list[Json]:
        """Every project that the token's user sees."""
        return list(self.pages("/api/projects/"))

    def project(self, project: int) -> Json:
        """One project, with ``label_config`` and ``model_version``."""
        return _object(self.get(f"/api/projects/{project}/"))

    def create_project(self, title: str, label_config: str) -> Json:
        """A new project."""
        return _object(self.post("/api/projects/", {"title": title, "label_config": label_config}))

    def patch_project(self, project: int, **fields: Any) -> Json:
        """Change fields of a project, such as ``model_version`` or ``label_config``."""
        return _object(self.patch(f"/api/projects/{project}/", fields))

    def ml_backends(self, project: int) -> list[Json]:
        """The ML backends connected to a project."""
        return list(self.pages("/api/ml/", project=project))

    def create_ml_backend(self, project: int, url: str, title: str, **fields: Any) -> Json:
        """Connect the backend at ``url``, for interactive use unless ``fields`` say otherwise."""
        body = {"project": project, "url": url, "title": title, "is_interactive": True, **fields}
        return _object(self.post("/api/ml/", body))

    def patch_ml_backend(self, backend: int, **fields: Any) -> Json:
        """Change fields of a connected backend."""
        return _object(self.patch(f"/api/ml/{backend}", fields))

    def webhooks(self, project: int) -> list[Json]:
        """The webhooks of a project."""
        return list(self.pages("/api/webhooks/", project=project))

    def create_webhook(self, project: int, url: str, headers: Mapping[str, str]) -> Json:
        """Send every event of a project, with its payload, to ``url``."""
        return _object(self.post("/api/webhooks/", {"project": project, **_webhook(url, headers)}))

    def update_webhook(self, webhook: int, url: str, headers: Mapping[str, str]) -> Json:
        """Give a webhook another address or other headers, and switch it on."""
        return _object(self.patch(f"/api/webhooks/{webhook}/", _webhook(url, headers)))

    def import_tasks(self, project: int, tasks: Sequence[Json]) -> list[int]:
        """Add tasks (``{"data": {…}}``); gives their ids."""
        body = self.post(f"/api/projects/{project}/import", list(tasks), return_task_ids="true")
        return [int(task) for task in _object(body)["task_ids"]]

    def upload(self, project: int, name: str, content: bytes) -> list[int]:
        """Add a task from an uploaded file, such as a picture; gives the ids."""
        body = self.call(
            "POST",
            f"/api/projects/{project}/import",
            params={"return_task_ids": "true"},
            files={name: (name, content)},
        )
        return [int(task) for task in _object(body)["task_ids"]]

    def task(self, task: int) -> Json:
        """One task with its data, annotations and predictions."""
        return _object(self.get(f"/api/tasks/{task}/"))

    def tasks(self, project: int, **params: Any) -> Iterator[Json]:
        """Every task of a project; ``fields="all", only_annotated="true"``: with annotations."""
        return self.pages("/api/tasks", items="tasks", project=project, **params)

    def annotated_tasks(self, project: int) -> Iterator[Json]:
        """Every task with an annotation, skipped ones too: without them, but with their counts and
        with ``updated_at``, which changes when they do."""
        counts = ("total_annotations", "cancelled_annotations")
        items = [
            {"filter": f"filter:tasks:{name}", "operator": "greater", "type": "Number", "value": 0}
            for name in counts
        ]
        query = {"filters": {"conjunction": "or", "items": items}}
        return self.tasks(project, resolve_uri="false", query=json.dumps(query))

    def tasks_in_full(self, project: int, tasks: Sequence[int]) -> list[Json]:
        """Those of these tasks that exist, with all their annotations; for a handful at a time.

        In this way Label Studio does not ask its ML backends for predictions, as it does for one
        task by its number, and skipped annotations are among them.
        """
        query = {"selectedItems": {"all": False, "included": list(tasks)}}
        body = self.get(
            "/api/tasks",
            project=project,
            fields="all",
            resolve_uri="false",
            page_size=len(tasks),
            query=json.dumps(query),
        )
        return [task for task in _object(body).get("tasks", []) if isinstance(task, dict)]

    def tasks_of(self, project: int, tasks: Sequence[int]) -> list[Json]:
        """Those of these tasks that exist: their data and counts, addresses as they were imported.

        A page of them at most.
        """
        query = {"selectedItems": {"all": False, "included": list(tasks)}}
        return list(
            self.tasks(project, resolve_uri="false", query=json.dumps(query)) if tasks else ()
        )

    def predictions(self, task: int) -> list[Json]:
        """The predictions of a task, with their masks."""
        return list(self.pages("/api/predictions/", task=task))

    def create_prediction(self, task: int, prediction: Json) -> Json:
        """Add a prediction: ``result``, ``score``, ``model_version``."""
        return _object(self.post("/api/predictions/", {"task": task, **prediction}))

    def patch_prediction(self, prediction: int, **fields: Any) -> Json:
        """Change fields of a prediction, such as ``score``."""
        return _object(self.patch(f"/api/predictions/{prediction}/", fields))

    def delete_prediction(self, prediction: int) -> None:
        """Remove a prediction; annotations that were made from it stay."""
        self.delete(f"/api/predictions/{prediction}/")

    def next_task(self, project: int) -> Json:
        """The task that the token's user would be given now; Label Studio locks it for them."""
        return _object(self.get(f"/api/projects/{project}/next"))

    def annotations(self, task: int) -> list[Json]:
        """The annotations of a task."""
        return list(self.pages(f"/api/tasks/{task}/annotations/"))

    def create_annotation(self, task: int, result: Sequence[Json], **fields: Any) -> Json:
        """Submit an annotation, as an annotator's Submit does; fields such as ``lead_time``."""
        body = {"result": list(result), **fields}
        return _object(self.post(f"/api/tasks/{task}/annotations/", body))

    def interactive_annotating(self, backend: int, task: int, context: Json) -> Json:
        """Ask the backend for one task, as a click or phrase in the page does."""
        body = self.call(
            "POST",
            f"/api/ml/{backend}/interactive-annotating",
            json={"task": task, "context": context},
            timeout=_INTERACTIVE_TIMEOUT_S,
        )
        return _object(body)

    def retrieve_predictions(self, project: int) -> Json:
        """Have every task of a project predicted that lacks one of its model version."""
        path = "/api/dm/actions"
        body = {"selectedItems": {"all": True, "excluded": []}}
        return _object(self.post(path, body, id="retrieve_tasks_predictions", project=project))


def backend_login(settings: Settings) -> Json:
    """With which password Label Studio logs in to this backend, as fields of the connection.

    It tries the connection with what a change says, not with what it has, so every change brings
    them along; empty where there is no password.
    """
    password = settings.basic_auth_password.get_secret_value()
    if not (settings.basic_auth_user and password):
        return {}
    return {
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": settings.basic_auth_user,
        "basic_auth_pass": password,
    }


class LabelStudioHosts:
    """Which Label Studio a project lives in: the settings' one, else what ``phraseclick connect``
    kept, else the one /setup announced.

    ``announced`` gives hostname and token that /setup told for a project. The token of the
    settings goes to the address of the settings alone: whoever can reach /setup could otherwise
    announce a host of theirs and have the token sent there.
    """

    def __init__(
        self,
        settings: Settings,
        announced: Callable[[int], tuple[str, str] | None] = lambda project: None,
    ) -> None:
        self._settings = settings
        self._url = settings.label_studio_url
        self._token = settings.label_studio_token
        self._announced = announced
        self._lock = threading.Lock()
        # One client per host and token: its access token and connections serve every project.
        self._clients: dict[tuple[str, str, str], LabelStudio] = {}

    def of(self, project_id: int) -> LabelStudio:
        """The Label Studio of a project; raises LabelStudioError where none is known."""
        hostname, token = self._announced(project_id) or ("", "")
        if self._url:
            who = (self._url, self._token.get_secret_value() or token, hostname)
        elif kept := kept_access(self._settings).get(project_id):
            who = (kept.url, kept.token, hostname)
        elif hostname:
            who = (hostname, token, "")
        else:
            raise LabelStudioError(
                "It is not known where Label Studio is. Ask the admin to set "
                "PHRASECLICK_LABEL_STUDIO_URL, or to connect the backend to the project again."
            )
        with self._lock:
            if who not in self._clients:
                self._clients[who] = LabelStudio(who[0], who[1], also_at=who[2])
            return self._clients[who]


def _webhook(url: str, headers: Mapping[str, str]) -> Json:
    return {
        "url": url,
        "headers": dict(headers),
        "is_active": True,
        "send_payload": True,
        "send_for_all_actions": True,
    }


def _object(body: Any) -> Json:
    if not isinstance(body, dict):
        raise LabelStudioError("Label Studio answered with another kind of data than expected.")
    return body
