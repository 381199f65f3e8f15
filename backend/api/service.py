"""The backend without HTTP: what the web server, label-studio-ml's server and tests call.

It only connects the parts: each call is parsed by ``label_studio.payloads`` and passed on.
"""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, Self

from cachetools import TTLCache

from backend import logs
from backend.api.gauges import DatabaseWatch, read_gauges
from backend.db.migrations import open_database
from backend.errors import DatabaseError, LabelStudioError, RequestError, TooManyError
from backend.images.embeddings import Embeddings
from backend.images.loader import Pictures
from backend.interaction import submitted
from backend.interaction.click import Predict
from backend.interaction.store import InteractionStore
from backend.jobs.presence import Presence
from backend.label_studio.config import parse_config
from backend.label_studio.controls import LabelConfig
from backend.label_studio.payloads import (
    START_TRAINING,
    Project,
    bare_wish,
    parse_setup,
    parse_webhook,
)
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.label_studio.ssrf import read_address
from backend.metrics import Metrics
from backend.registry.champions import EVERYONE
from backend.registry.serving import Predictors
from backend.registry.versions import Registry
from backend.reports.queries import Reports
from backend.settings import Settings
from backend.worker import celery_app
from backend.worker.webhook_inbox import Deliveries, WebhookInbox
from model.files import private_folder
from model.predictor import Predictor

_log = logging.getLogger(__name__)

Answer = dict[str, Any]

# What Label Studio sends; anything else is counted as "other", so that a stranger cannot fill the
# metrics with names.
_ACTIONS = frozenset(
    {
        "ANNOTATION_CREATED",
        "ANNOTATION_UPDATED",
        "ANNOTATIONS_CREATED",
        "ANNOTATIONS_DELETED",
        "TASKS_CREATED",
        "TASKS_DELETED",
        "PROJECT_CREATED",
        "PROJECT_UPDATED",
        "PROJECT_DELETED",
        START_TRAINING,
    }
)

_AVAILABLE = ("base", "candidate", "accepted")
_KEYS = 1_000


class RateLimit:
    """Once per key in ``each_s`` seconds, and ``most`` times a minute in all. Thread-safe."""

    def __init__(
        self,
        each_s: float = 2.0,
        most: int = 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._keys: TTLCache[Hashable, bool] = TTLCache(_KEYS, each_s, clock)
        self._all: TTLCache[object, bool] = TTLCache(most, 60.0, clock)
        self._lock = threading.Lock()

    def take(self, key: Hashable) -> bool:
        """Whether it may be done now; counted if so."""
        with self._lock:
            if key in self._keys or len(self._all) >= self._most:
                return False
            self._keys[key] = self._all[object()] = True
            return True


class Service:
    """All parts of one server process. Thread-safe; processes may share one data folder."""

    def __init__(self, settings: Settings, predictor: Predictor) -> None:
        """predictor: the base, which serves where no version was promoted."""
        self.settings = settings
        self.metrics = Metrics()
        logs.hide_settings(settings)
        private_folder(settings.data)
        self.database = open_database(settings)
        self._database_watch = DatabaseWatch(self.database)
        self._projects = Projects(self.database)
        self.label_studios = LabelStudioHosts(settings, self._projects.announced)
        self.pictures = Pictures(settings, self.label_studios)
        self._embeddings = Embeddings(self.pictures, self.metrics)
        self.registry = Registry(self.database, settings)
        self._predictors = Predictors(
            self.registry,
            predictor,
            max_bytes=settings.versions_bytes,
            changed=lambda: self.metrics.models(self._predictors.serving()),
        )
        self._read_config: Callable[[str], LabelConfig] = partial(
            parse_config, **settings.refine_labels
        )
        self.predict = Predict(
            settings,
            self._read_config,
            self._projects,
            InteractionStore(self.database, settings, knows=self._predictors.knows),
            self._embeddings,
            self._predictors,
            self.metrics,
        )
        self.reports = Reports(self.database)
        self._presence: Presence | None = None
        self._count_again = 0.0
        self._wishes = RateLimit()
        # Anyone can name projects that do not exist; that must not use up the others' share.
        self._strangers_wishes = RateLimit(most=5)
        self._enqueuer = celery_app.Enqueuer(celery_app.build(settings))
        self._inbox = WebhookInbox(
            settings.data / "webhooks", Deliveries(self.database), self._enqueuer.enqueue
        )
        self.metrics.models(self._predictors.serving())
        self._predictors.start()
        if settings.label_studio_token.get_secret_value() and not settings.label_studio_url:
            _log.warning(
                "PHRASECLICK_LABEL_STUDIO_TOKEN is set but PHRASECLICK_LABEL_STUDIO_URL is not: "
                "the token is not used, since anyone could announce a host to have it sent to."
            )

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """With the model that the settings name, loaded before this returns."""
        predictor = Predictor(
            settings.checkpoint,
            device=settings.device,
            cache_bytes=settings.embedding_cache_bytes,
            threads=settings.torch_threads,
            passes=settings.parallel_passes,
        )
        predictor.warm_up()
        service = cls(settings, predictor)
        service.registry.base()
        service._presence = Presence(
            service.database,
            "server",
            lambda: {
                "model_version": service.version,
                # Encoded pictures in memory, of all versions together.
                "cache_bytes": predictor.cached_bytes,
                **service.metrics.batches,
            },
        ).start()
        return service

    @property
    def version(self) -> str:
        """The model version that serves where a project has no champion of its own."""
        return self._predictors.serves(None).version

    def version_for(self, project: Project) -> str:
        return self._predictors.serves(project).version

    def health(self, project: str = "") -> Answer:
        """Whether the database answers, what serves, and what cannot be loaded.

        project: number or key; '' for projects without a champion of their own.
        """
        status = self._predictors.status(Project.read(project) if project else None)
        about = {"status": "UP", "model_loaded": True, **status}
        if trouble := self._database_watch.trouble:
            about |= {"status": "DOWN", "problems": [*status.get("problems", []), trouble]}
        return about

    def setup(self, body: object, *, logged_in: bool = False) -> Answer:
        """Connect a project: check its config, and save its Label Studio.

        logged_in: the request came with the backend's password.

        Raises:
            RequestError, LabelConfigError: with a sentence for the admin.
        """
        request = parse_setup(body)
        if request.hostname:
            try:
                read_address(request.hostname)
            except LabelStudioError as error:
                raise RequestError(str(error)) from None
        logs.hide_token(request.access_token)
        xml = request.label_config or self._projects.label_config(request.project)
        config = self._read_config(xml)
        for warning in config.warnings:
            _log.warning("Project %s: %s", request.project.id, warning)
        self._projects.remember(replace(request, label_config=xml), logged_in=logged_in)
        return {"model_version": self.version_for(request.project)}

    def webhook(self, raw: bytes, body: object) -> Answer:
        """Store an event as it came; the worker processes it."""
        hook = parse_webhook(body)
        if hook.action == START_TRAINING:
            # It may come without the webhook's secret, so nothing else in it is believed.
            wishes = self._strangers_wishes if self._is_stranger(hook.project) else self._wishes
            if not wishes.take(hook.project.key):
                raise TooManyError("A training was requested a moment ago; wait a minute.")
            raw = bare_wish(hook.project)
        self._inbox.add(hook.action, hook.project.id, raw)
        self.metrics.delivery(hook.action if hook.action in _ACTIONS else "other")
        return {"status": "stored"}

    def put_back(self, project: Project, task: int, annotation: int) -> int:
        """Put the masks that an annotation was submitted without into Label Studio, as a
        prediction; returns how many. Raises JobError, LabelStudioError, LabelConfigError."""
        return submitted.put_back(
            self.database,
            self.label_studios.of(project),
            self._read_config(self._projects.label_config(project)),
            project,
            task,
            annotation,
            tolerance=self.settings.outline_tolerance,
        )

    def figures(self) -> bytes:
        """For Prometheus: what this server counted, and the state of the database."""
        started = time.monotonic()
        if started >= self._count_again:
            try:
                self.metrics.gauges(read_gauges(self.database, base=self._predictors.base.version))
            except DatabaseError as error:
                # The other figures show what is wrong, so they must not be missing just then.
                _log.warning("The state of the database could not be read: %s", error)
            # However many rows there are, counting them takes at most a twentieth of the time.
            self._count_again = time.monotonic() + 20 * (time.monotonic() - started)
        return self.metrics.exposition()

    def versions(self, project: Project | None = None) -> Answer:
        """The available model versions, and the one that serves."""
        serves = self.version_for(project) if project else self.version
        known = self.registry.all(project.key if project else EVERYONE)
        names = [v.name for v in known if v.state in _AVAILABLE]
        return {"versions": list(dict.fromkeys([*names, serves])), "model_version": serves}

    def job_asked(self) -> None:
        """A job was requested: have a worker look for it now rather than at its next tick."""
        self._enqueuer.enqueue(celery_app.TICK)

    def promoted(self) -> None:
        """A version was promoted or rolled back: have Label Studio updated now."""
        self._enqueuer.enqueue(celery_app.ANNOUNCE)

    def close(self) -> None:
        """Finish what runs, and close everything."""
        if self._presence is not None:
            self._presence.close()
        self._database_watch.close()
        self._predictors.close()
        self._embeddings.close()
        self._inbox.close()
        self._enqueuer.close()
        self.database.close()

    def _is_stranger(self, project: Project) -> bool:
        """Whether the project is unknown for certain."""
        try:
            return not self._projects.knows(project)
        except DatabaseError:
            return False
