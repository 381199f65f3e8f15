"""What the worker does: takes the news of the webhooks into the memory, and forgets what is old."""

import logging
from datetime import UTC, datetime

import orjson

from backend.contract import parse_webhook
from backend.database import Database
from backend.deliveries import Deliveries, Stored
from backend.errors import LabelConfigError
from backend.label_config import LabelConfig
from backend.memory import InteractionMemory, Policy
from backend.settings import Settings

_log = logging.getLogger(__name__)

_SAVED = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
_DELETED = ("ANNOTATIONS_DELETED", "ANNOTATION_DELETED")


class Upkeep:
    """The worker's side of the memory. Needs no model."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.resolved_database_url)
        self._database.migrate()
        self._deliveries = Deliveries(self._database)
        self._memory = InteractionMemory(self._database, Policy.of(settings))

    def settle(self) -> int:
        """Take in every delivery that waits; how many there were."""
        return self._deliveries.settle(self._take_in)

    def tidy(self) -> None:
        """Forget old targets and deliveries. (Caches keep themselves within their bounds.)"""
        self._memory.forget(datetime.now(UTC))
        self._deliveries.forget_old()

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def _take_in(self, delivery: Stored) -> None:
        hook = parse_webhook(orjson.loads(delivery.body))
        if hook.action in _DELETED:
            self._memory.deleted(hook.project, hook.annotation_ids)
        elif hook.action in _SAVED and hook.annotation is not None and hook.task is not None:
            try:
                config = LabelConfig.parse(
                    hook.label_config,
                    add_label=self._settings.refine_positive_label,
                    remove_label=self._settings.refine_negative_label,
                )
            except LabelConfigError as error:
                # A project that this backend cannot serve has nothing in the memory to settle.
                _log.info("Project %s: %s", hook.project.id, error)
                return
            self._memory.settle(hook.project, hook.task.id or 0, hook.annotation, config)
