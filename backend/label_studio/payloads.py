"""Requests of Label Studio as frozen dataclasses. ``backend/api/openapi.py`` documents their JSON.

Requests differ by version of Label Studio and gain fields over time, so unknown fields are ignored.
The parts with masks (drafts, annotations, predictions) are not read here: a task with forty
accepted masks must not make a click slower. ``regions`` and ``annotations`` read them.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson

from backend.errors import NotJsonError, RequestError

# A page with more regions than this is unusable, so no annotator sends more.
MAX_ITEMS = 5_000
# "Retrieve predictions" sends 100 tasks at once by default, some installations a few hundred.
MAX_TASKS = 10_000
# Label Studio's tokens: 40 hex digits, or a JWT of some 300 characters.
_MAX_TOKEN = 4_000
# Each object or list takes up to 300 bytes once it is parsed, however short its text is. Ten
# thousand imported tasks have some 100,000; the numbers of a mask are in one list.
_MAX_CONTAINERS = 300_000
# While a body is parsed, no other thread works: ten million numbers take some 0.5 s. Forty masks of
# six megapixels have five million.
_MAX_VALUES = 10_000_000
_LARGE = 1 << 19
# Above it, what orjson refuses is not read another way, which takes ten times as long.
_MAX_REPAIRED = 8 << 20

_PROJECT = re.compile(r"(\d{1,18})(?:\.(\d{1,18}))?", re.ASCII)
_WRITTEN = re.compile(r"(0|[1-9]\d{0,18})(?:\.0{1,9})?", re.ASCII)
# Numbers in the database are signed, of 64 bits. Label Studio's own ids stay far below half of it.
_MAX_NUMBER = 2**63
_DERIVED = 2**62
_FIRST_YEAR, _LAST_YEAR = 1970, 9_000
# Other than tabs and line breaks.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")

START_TRAINING = "START_TRAINING"


@dataclass(frozen=True)
class Project:
    """Label Studio's ``"<id>.<created>"``: the second half keeps two hosts' project 6 apart."""

    id: int
    created: str = ""

    @property
    def key(self) -> str:
        """The project's key in the backend's database."""
        return f"{self.id}.{self.created}" if self.created else str(self.id)

    @classmethod
    def read(cls, raw: object) -> "Project":
        """From a string, a number, or the project object of a webhook."""
        if isinstance(raw, Mapping):
            created = moment(raw.get("created_at"))
            inner = cls.read(raw.get("id"))
            # A key has no sign; no project is older than Label Studio.
            seconds = int(created.timestamp()) if created else -1
            return cls(inner.id, str(seconds) if seconds >= 0 else "")
        match = _PROJECT.fullmatch(clean(raw).strip())
        if not match:
            raise RequestError("The request names no project of the form '<id>.<created>'.")
        return cls(int(match[1]), match[2] or "")

    def may_be(self, key: str) -> bool:
        """Whether this can be the project with that key. A script that knows only the number may
        mean any project of that number."""
        return key == self.key or (not self.created and number_of(key) == self.id)


def number_of(key: str) -> int:
    """The project's number in Label Studio, which people know it by, from its key."""
    return int(key.partition(".")[0])


@dataclass(frozen=True)
class Task:
    """One task: its data, and what is saved on it so far, not parsed yet."""

    id: int | None  # Label Studio's; None for a script's task without a number
    data: Mapping[str, Any]
    drafts: Sequence[Any] = ()
    annotations: Sequence[Any] = ()
    name: str = ""  # the id as sent, if it is no number

    @cached_property
    def key(self) -> int:
        """The number that the task's memory is kept under: its id, or one derived from the id's
        text or the task's data, so that two tasks without a number never share a memory."""
        if self.id is not None:
            return self.id
        text = self.name or json.dumps(self.data, sort_keys=True, default=str)
        return _DERIVED | int.from_bytes(blake2b(text.encode(), digest_size=7).digest(), "big")


@dataclass(frozen=True)
class SetupRequest:
    """``POST /setup``: a project connects, or asks for the model version again."""

    project: Project
    label_config: str
    hostname: str
    access_token: str


@dataclass(frozen=True)
class PredictRequest:
    """``POST /predict``: one task with clicks or a phrase, or many tasks without a context."""

    project: Project
    tasks: tuple[Task, ...]
    label_config: str
    interactive: bool  # False if the context is null: a batch, or a task that was opened
    context: tuple[Mapping[str, Any], ...] = ()
    probe: bool = False  # a check by connect or doctor: answered, but not remembered or counted


@dataclass(frozen=True)
class WebhookRequest:
    """``POST /webhook``: something happened to a project, its tasks or annotations."""

    action: str
    project: Project
    tasks: tuple[Task, ...]
    annotations: tuple[Mapping[str, Any], ...]  # saved or deleted, not parsed yet
    label_config: str
    title: str
    changed_at: datetime | None  # when the project was last changed

    @property
    def annotation_ids(self) -> tuple[int, ...]:
        """Numbers of the annotations that were saved or deleted."""
        ids = (whole_number(annotation.get("id")) for annotation in self.annotations)
        return tuple(number for number in ids if number is not None)


def parse_setup(body: object) -> SetupRequest:
    """Read a ``/setup`` body. Raises RequestError."""
    setup = _body(body)
    token = _text(setup, "access_token").strip()
    if len(token) > _MAX_TOKEN:
        raise RequestError("The request's access token is too long.")
    if not is_token(token):
        raise RequestError(
            "The access token in the request contains blanks, line breaks or other characters that "
            "no token of Label Studio has."
        )
    return SetupRequest(
        project=Project.read(setup.get("project")),
        label_config=_text(setup, "schema") or _text(setup, "label_config"),
        hostname=_text(setup, "hostname").strip().rstrip("/"),
        access_token=token,
    )


def is_token(text: str) -> bool:
    """Whether this can be a token of Label Studio: printable ASCII without blanks, or nothing.

    Anything else would break the header that carries it.
    """
    return re.fullmatch(r"[!-~]*", text) is not None


def parse_predict(body: object) -> PredictRequest:
    """Read a ``/predict`` body. Raises RequestError."""
    predict = _body(body)
    tasks = predict.get("tasks")
    if not isinstance(tasks, list):
        raise RequestError("The request's 'tasks' is not a list of tasks.")
    if len(tasks) > MAX_TASKS:
        raise RequestError(f"More than {MAX_TASKS} tasks in one request; send fewer at once.")
    if tasks and not any(isinstance(task, Mapping) for task in tasks):
        raise RequestError("A task of the request is not an object.")
    params = predict.get("params")
    context = params.get("context") if isinstance(params, Mapping) else None
    project = predict.get("project")
    if project in (None, "") and tasks and isinstance(tasks[0], Mapping):
        project = tasks[0].get("project")
    return PredictRequest(
        project=Project.read(project),
        tasks=tuple(map(read_task, tasks)),
        label_config=_text(predict, "label_config"),
        interactive=context is not None,
        context=_context(context),
        probe=isinstance(context, Mapping) and context.get("probe") is True,
    )


def parse_webhook(body: object) -> WebhookRequest:
    """Read a ``/webhook`` body. Raises RequestError."""
    hook = _body(body)
    action = _text(hook, "action")
    if not action:
        raise RequestError("The request's 'action' is missing.")
    project = hook.get("project")
    project = project if isinstance(project, Mapping) else {"id": project}
    return WebhookRequest(
        action=action,
        project=Project.read(project),
        tasks=tuple(map(read_task, _objects(hook, "task", "tasks"))),
        annotations=tuple(_objects(hook, "annotation", "annotations")),
        label_config=clean(project.get("label_config")),
        title=clean(project.get("title")).strip(),
        changed_at=moment(project.get("updated_at")),
    )


def bare_wish(project: Project) -> bytes:
    """A START_TRAINING with no more in it than its project."""
    created = datetime.fromtimestamp(int(project.created), UTC) if project.created else None
    about = {"id": project.id, "created_at": created.isoformat() if created else None}
    return orjson.dumps({"action": START_TRAINING, "project": about})


def read_task(raw: object) -> Task:
    """One task as Label Studio serializes it, or a script's ``{"data": …}``; one without data for
    anything else, which must not cost the other tasks of a request their answers."""
    raw = raw if isinstance(raw, Mapping) else {}
    data = raw.get("data")
    number = whole_number(raw.get("id"))
    drafts, annotations = raw.get("drafts"), raw.get("annotations")
    return Task(
        id=number,
        data=data if isinstance(data, Mapping) else {},
        drafts=drafts if isinstance(drafts, list) else (),
        annotations=annotations if isinstance(annotations, list) else (),
        name="" if number is not None or raw.get("id") is None else clean(str(raw["id"])),
    )


def parse_json(body: bytes) -> Any:
    """The body of a request. Raises NotJsonError.

    What Python's own reader takes is read too: scripts write NaN and numbers that no float holds,
    which become null here, and JavaScript can cut an emoji in half. The rest is a lone surrogate,
    which no database takes; it becomes "?".
    """
    if len(body) > _LARGE:
        # NumPy lets other threads work while it counts.
        characters = np.frombuffer(body, np.uint8)
        if sum(np.count_nonzero(characters == ord(each)) for each in "{[") > _MAX_CONTAINERS:
            raise RequestError("The request's body holds too many objects and lists.")
        if np.count_nonzero(characters == ord(",")) > _MAX_VALUES:
            raise RequestError("The request's body holds more than ten million values.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if len(body) <= _MAX_REPAIRED:
            with suppress(ValueError, RecursionError):
                read = json.loads(
                    body,
                    strict=False,
                    parse_constant=lambda constant: None,
                    parse_float=_finite,
                    parse_int=lambda digits: _finite(digits) if len(digits) > 18 else int(digits),
                )
                return orjson.loads(json.dumps(read, ensure_ascii=False).encode("utf-8", "replace"))
        raise NotJsonError(
            f"The request's body is not JSON ({error.msg} at character {error.pos})."
        ) from None


def _finite(number: str) -> float | None:
    read = float(number)
    return read if math.isfinite(read) else None


def whole_number(raw: object) -> int | None:
    """A number from 0 that the database takes, also as some scripts write it: 320.0, "320"; None
    for anything else."""
    if isinstance(raw, str) and (written := _WRITTEN.fullmatch(raw.strip())):
        raw = int(written[1])
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int):
        return None
    return raw if 0 <= raw < _MAX_NUMBER else None


def moment(raw: object) -> datetime | None:
    """An ISO time of Label Studio as an aware UTC datetime; None if it is none, or one that no
    clock shows, with which one cannot calculate."""
    if not isinstance(raw, str) or len(raw) > 40:
        return None
    try:
        read = datetime.fromisoformat(raw)
    except ValueError:
        return None
    if not _FIRST_YEAR <= read.year <= _LAST_YEAR:
        return None
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


def clean(raw: object) -> str:
    """Text that every database takes and no terminal obeys: without lone surrogates and control
    characters; '' for other things."""
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        raw = str(raw) if abs(raw) < 10**30 else ""
    if not isinstance(raw, str):
        return ""
    return _CONTROLS.sub("", raw).encode("utf-8", "replace").decode("utf-8")


def _context(raw: object) -> tuple[Mapping[str, Any], ...]:
    """The items of ``context.result``; those that are no objects are left out."""
    if raw is None:
        return ()
    if isinstance(raw, str):
        with suppress(ValueError, RecursionError):
            raw = json.loads(raw)
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


def _body(body: object) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise RequestError("The request's body is not a JSON object.")
    return body


def _text(body: Mapping[str, Any], name: str) -> str:
    """A text of the body; '' where it is missing or null."""
    text = body.get(name)
    if text is not None and not isinstance(text, str):
        raise RequestError(f"The request's '{name}' is not a text.")
    return clean(text)


def _objects(body: Mapping[str, Any], *names: str) -> Iterator[Mapping[str, Any]]:
    """The objects under these names, which hold one or a list of them."""
    for name in names:
        raw = body.get(name)
        for item in raw if isinstance(raw, list) else [raw]:
            if isinstance(item, Mapping):
                yield item
