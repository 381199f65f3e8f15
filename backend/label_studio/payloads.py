"""What Label Studio posts, read at the edge: pydantic models turned into frozen dataclasses.

Label Studio's requests differ by version and grow fields at will, so unknown fields pass unseen and
the parts with masks (drafts, annotations, predictions) are never walked by a validator: a task with
forty accepted masks must not make a click slower. What a context means (click, phrase, ghost) needs
the labeling config and is read in ``memory/interaction.py``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from backend.errors import RequestError

# A page cannot hold more regions than this and stay usable; a context beyond it is no annotator's.
MAX_ITEMS = 5_000
# "Retrieve predictions" sends 100 tasks at once by default, some installations a few hundred.
MAX_TASKS = 10_000
MAX_CONFIG_CHARACTERS = 1_000_000

_PROJECT = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))?")


@dataclass(frozen=True)
class Project:
    """Label Studio's ``"<id>.<created>"``: the second half keeps two hosts' project 6 apart."""

    id: int
    created: str = ""

    @property
    def key(self) -> str:
        """The name of the project in the backend's database."""
        return f"{self.id}.{self.created}" if self.created else str(self.id)

    @classmethod
    def read(cls, raw: object) -> "Project":
        """From a string, a number, or the project object of a webhook."""
        if isinstance(raw, Mapping):
            created = moment(raw.get("created_at"))
            inner = cls.read(raw.get("id"))
            return cls(inner.id, str(int(created.timestamp())) if created else "")
        if isinstance(raw, bool) or not isinstance(raw, int | str):
            raise RequestError("The request names no project. Label Studio sends '<id>.<created>'.")
        match = _PROJECT.fullmatch(str(raw).strip())
        if not match:
            raise RequestError("The request's project is not of the form '<id>.<created>'.")
        return cls(int(match[1]), match[2] or "")

    def may_be(self, key: str) -> bool:
        """Whether this is the project with that key, as far as is told: a script that knows the
        number alone may mean any of that number."""
        return key == self.key or (not self.created and number_of(key) == self.id)


def number_of(key: str) -> int:
    """Of a project's key: its number in Label Studio, by which people know it."""
    return int(key.partition(".")[0])


@dataclass(frozen=True)
class Task:
    """One task: its data, and what is saved on it so far, unread."""

    id: int | None
    data: Mapping[str, Any]
    drafts: Sequence[Any] = ()
    annotations: Sequence[Any] = ()


@dataclass(frozen=True)
class SetupRequest:
    """``POST /setup``: a project connects, or asks for the model version again."""

    project: Project
    label_config: str
    hostname: str
    access_token: str
    extra_params: Mapping[str, Any]


@dataclass(frozen=True)
class PredictRequest:
    """``POST /predict``: one task and what was clicked or typed, or many tasks and no context."""

    project: Project
    tasks: tuple[Task, ...]
    label_config: str
    interactive: bool  # False where the context is null: a batch, or the opening of a task
    context: tuple[Mapping[str, Any], ...] = ()
    probe: bool = False  # a check by connect or doctor: answered, but neither kept nor counted

    @property
    def empty(self) -> bool:
        """Interactive, but with nothing in it: Label Studio asks so on submit."""
        return self.interactive and not self.context


@dataclass(frozen=True)
class WebhookRequest:
    """``POST /webhook``: something happened to a project, its tasks or annotations."""

    action: str
    project: Project
    annotation: Mapping[str, Any] | None
    task: Task | None
    tasks: tuple[Task, ...]
    annotation_ids: tuple[int, ...]  # those deleted, or the one at hand
    label_config: str
    title: str = ""


def parse_setup(body: object) -> SetupRequest:
    """Read a ``/setup`` body. Raises RequestError with a sentence."""
    setup = _validated(_Setup, body)
    return SetupRequest(
        project=Project.read(setup.project),
        label_config=setup.schema_ or setup.label_config,
        hostname=setup.hostname.strip().rstrip("/"),
        access_token=setup.access_token,
        extra_params=_parameters(setup.extra_params),
    )


def parse_predict(body: object) -> PredictRequest:
    """Read a ``/predict`` body. Raises RequestError with a sentence."""
    predict = _validated(_Predict, body)
    if len(predict.tasks) > MAX_TASKS:
        raise RequestError(f"More than {MAX_TASKS} tasks in one request; send fewer at once.")
    raw = predict.params.get("context")
    context = _context(raw)
    tasks = tuple(read_task(task) for task in predict.tasks)
    project = predict.project
    if project in (None, "") and predict.tasks and isinstance(predict.tasks[0], Mapping):
        project = predict.tasks[0].get("project")
    return PredictRequest(
        project=Project.read(project),
        tasks=tasks,
        label_config=predict.label_config,
        interactive=raw is not None,
        context=context,
        probe=isinstance(raw, Mapping) and raw.get("probe") is True,
    )


def parse_webhook(body: object) -> WebhookRequest:
    """Read a ``/webhook`` body. Raises RequestError with a sentence."""
    hook = _validated(_Webhook, body)
    annotation = hook.annotation if isinstance(hook.annotation, Mapping) else None
    several = hook.annotations if isinstance(hook.annotations, list) else []
    ids = [item.get("id") for item in [annotation, *several] if isinstance(item, Mapping)]
    project = hook.project if isinstance(hook.project, Mapping) else {"id": hook.project}
    config, title = project.get("label_config"), project.get("title")
    return WebhookRequest(
        action=hook.action,
        project=Project.read(project),
        annotation=annotation,
        task=read_task(hook.task) if isinstance(hook.task, Mapping) else None,
        tasks=tuple(read_task(t) for t in hook.tasks or () if isinstance(t, Mapping)),
        annotation_ids=tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool)),
        label_config=config if isinstance(config, str) else "",
        title=title.strip() if isinstance(title, str) else "",
    )


def read_task(raw: object) -> Task:
    """One task as Label Studio serializes it, or as a bare ``{"data": …}`` of a script."""
    if not isinstance(raw, Mapping):
        raise RequestError("A task of the request is not an object.")
    data = raw.get("data")
    number = raw.get("id")
    drafts, annotations = raw.get("drafts"), raw.get("annotations")
    return Task(
        id=number if _is_id(number) else None,
        data=data if isinstance(data, Mapping) else {},
        drafts=drafts if isinstance(drafts, list) else (),
        annotations=annotations if isinstance(annotations, list) else (),
    )


def moment(raw: object) -> datetime | None:
    """An ISO time of Label Studio as an aware UTC datetime; None where it is none."""
    if not isinstance(raw, str) or len(raw) > 40:
        return None
    try:
        read = datetime.fromisoformat(raw)
    except ValueError:
        return None
    try:
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def clean(raw: object) -> str:
    """Text that every database takes: no NUL, no half of a surrogate pair."""
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw) if abs(raw) < 10**30 else ""
    if not isinstance(raw, str):
        return ""
    return raw.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _is_id(raw: object) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63


def _context(raw: object) -> tuple[Mapping[str, Any], ...]:
    """The items of ``context.result``. Anything that is no object among them is left out."""
    if raw is None:
        return ()
    if isinstance(raw, str):
        raw = _json(raw)
    if not isinstance(raw, Mapping):
        raise RequestError("The context is not an object with a 'result' list.")
    result = raw.get("result")
    if result is None:
        return ()
    if not isinstance(result, list):
        raise RequestError("The context's 'result' is not a list of regions.")
    if len(result) > MAX_ITEMS:
        raise RequestError(
            f"The context holds {len(result)} regions; {MAX_ITEMS} are the most that is read."
        )
    return tuple(item for item in result if isinstance(item, Mapping))


def _parameters(raw: object) -> Mapping[str, Any]:
    """``extra_params`` comes as an object, as its JSON text, as '' or null."""
    if isinstance(raw, str):
        raw = _json(raw) if raw.strip() else None
    return raw if isinstance(raw, Mapping) else {}


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _text(raw: object) -> object:
    return "" if raw is None else raw


_Text = Annotated[str, BeforeValidator(_text)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _Setup(_Body):
    project: Any = None
    # Pydantic owns the name "schema"; the field is the labeling config all the same.
    schema_: _Text = ""
    label_config: _Text = ""
    hostname: _Text = ""
    access_token: _Text = ""
    extra_params: Any = None


class _Predict(_Body):
    project: Any = None
    tasks: list[Any]
    label_config: _Text = ""
    params: Annotated[
        dict[str, Any], BeforeValidator(lambda raw: raw if isinstance(raw, Mapping) else {})
    ] = {}


class _Webhook(_Body):
    action: str
    project: Any = None
    annotation: Any = None
    annotations: Any = None
    task: Any = None
    tasks: Annotated[
        list[Any] | None, BeforeValidator(lambda raw: raw if isinstance(raw, list) else None)
    ] = None


_B = TypeVar("_B", bound=_Body)


def _validated(model: type[_B], body: object) -> _B:
    if not isinstance(body, Mapping):
        raise RequestError("The request's body is not a JSON object.")
    if model is _Setup and "schema" in body:
        body = {**body, "schema_": body["schema"]}
    try:
        read = model.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise RequestError(f"The request's '{where}' cannot be read: {first['msg']}.") from None
    for config in (getattr(read, "label_config", ""), getattr(read, "schema_", "")):
        if len(config) > MAX_CONFIG_CHARACTERS:
            raise RequestError("The labeling config is longer than a million characters.")
    return read
