"""What the worker does: process webhooks, fetch from Label Studio what they missed, check the
pictures of new labels, compute their costs, and delete old data.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from backend.db.migrations import open_database
from backend.db.models.jobs import SCORING, TRAINING, Delivery, Job, Trigger
from backend.errors import LabelConfigError
from backend.images.loader import Pictures
from backend.interaction.submitted import (
    annotation_saved,
    annotations_deleted,
    forget_objects,
)
from backend.jobs.lease import Leases
from backend.jobs.queue import Jobs
from backend.jobs.scheduler import Scheduler
from backend.label_studio.annotations import DELETED, LabelChange, read_label_change
from backend.label_studio.config import parse_config
from backend.label_studio.controls import LabelConfig
from backend.label_studio.payloads import (
    START_TRAINING,
    Project,
    WebhookRequest,
    parse_json,
    parse_webhook,
)
from backend.label_studio.projects import LabelStudioHosts, Projects
from backend.learning import snapshot
from backend.registry.label_studio_sync import LabelStudioSync
from backend.registry.pruning import forget_gate_pictures, prune
from backend.registry.versions import Registry
from backend.reports.costs import Costs
from backend.samples.image_check import ImageCheck
from backend.samples.ingest import SampleStore
from backend.samples.sync import Reconciliation
from backend.settings import Settings
from backend.worker.webhook_inbox import Deliveries

_log = logging.getLogger(__name__)

# Less than the minute after which the same task comes again.
_BATCH_S = 45.0


class Tasks:
    """The worker's tasks. They need no model."""

    def __init__(self, settings: Settings, send: Callable[[Job], None] = lambda job: None) -> None:
        """send: send a due job to a worker."""
        self._settings = settings
        self._database = open_database(settings)
        self._deliveries = Deliveries(self._database)
        self._samples = SampleStore(self._database)
        self._costs = Costs(self._database, timedelta(minutes=settings.idle_minutes))
        self._jobs = Jobs(self._database)
        self._projects = Projects(self._database)
        hosts = LabelStudioHosts(settings, self._projects.announced)
        self._registry = Registry(self._database, settings)
        self._label_studio_sync = LabelStudioSync(
            self._registry, hosts, settings, synced=self._score_again
        )
        self._reconciliation = Reconciliation(self._database, hosts, self._config)
        self._image_check = ImageCheck(self._database, Pictures(settings, hosts))
        self._scheduler = Scheduler(settings, self._database, Leases(settings.lease_s), send)

    def process_deliveries(self) -> int:
        """Process the waiting webhook deliveries. Returns how many."""
        processed = self._deliveries.process(self._process)
        if processed:
            self._scheduler.labels_changed()
        return processed

    def tick(self) -> None:
        """Start due jobs, and requeue those of dead workers."""
        self._scheduler.tick()

    def reconcile(self) -> None:
        """Fetch the accepted annotations of every project from Label Studio."""
        # Process the waiting deliveries first: most of the annotations are in them.
        self.process_deliveries()
        self._reconciliation.run()
        self.compute_costs()

    def check_pictures(self) -> int:
        """Check the pictures of new labels. Returns how many."""
        checked = self._image_check.run(_BATCH_S)
        if checked:
            # A label counts only once its picture was checked.
            self._scheduler.labels_changed()
        return checked

    def compute_costs(self) -> int:
        """Compute missing and outdated costs of accepted regions. Returns the number of tasks."""
        return self._costs.catch_up(_BATCH_S)

    def announce(self) -> int:
        """Report new champions to Label Studio. Returns how many."""
        return self._label_studio_sync.run()

    def tidy(self) -> None:
        """Delete old objects, masks, deliveries, versions, and the folders of ended jobs.

        Caches limit their own size.
        """
        forget_objects(self._database, timedelta(days=self._settings.forget_after_days))
        self._costs.forget_masks(timedelta(days=self._settings.keep_masks_days))
        self._deliveries.delete_old()
        forget_gate_pictures(self._database, self._settings.keep_masks_days)
        snapshot.sweep(self._settings.data, self._database)
        for version in prune(self._registry):
            _log.info("Model version %s of %s was pruned", version.name, version.project or "all")

    def close(self) -> None:
        self._database.close()

    def _config(self, xml: str) -> LabelConfig:
        return parse_config(xml, **self._settings.refine_labels)

    def _process(self, delivery: Delivery) -> None:
        hook = parse_webhook(parse_json(delivery.body))
        try:
            config = self._config(hook.label_config)
        except LabelConfigError as error:
            # This backend cannot serve the project, so it has no objects of it.
            _log.info("Project %s: %s", hook.project.id, error)
            config = None
        if hook.title:
            self._projects.rename(hook.project, hook.title)
        if hook.action == START_TRAINING:
            self._train(hook.project, delivery.id)
            return
        if not self._projects.admits(hook.project):
            _log.warning(
                "Labels of project %s are left out: too many projects send labels without being "
                "connected. Run phraseclick connect --project %d.",
                hook.project.key,
                hook.project.id,
            )
            return
        change = read_label_change(hook, config)
        self._samples.apply(change)
        self._remember(hook, change, config)
        self._costs.take_in(change)
        if hook.action == "TASKS_CREATED" and config is not None:
            # An import comes in many webhooks; one job scores all of its tasks.
            debounce = timedelta(seconds=self._settings.learn_debounce_s)
            self._score(hook.project.key, "label_studio", datetime.now(UTC) + debounce)

    def _score_again(self, project: str) -> None:
        self._score(project, "promotion", datetime.now(UTC))

    def _score(self, project: str, trigger: Trigger, due_at: datetime) -> None:
        if self._settings.acquisition != "off":
            self._jobs.enqueue(project, SCORING, trigger=trigger, due_at=due_at)

    def _train(self, of: Project, delivery: int) -> None:
        """Start a training for the button in Label Studio; once, if the delivery comes twice."""
        project = of.key
        if not self._projects.knows(of):
            _log.info("Project %s has neither connected nor sent labels: no training", project)
            return
        known = self._jobs.listed(project, TRAINING, limit=20)
        if all(job.request.get("delivery") != delivery for job in known):
            self._jobs.enqueue(
                project,
                TRAINING,
                trigger="label_studio",
                by="Label Studio",
                request={"delivery": delivery},
            )

    def _remember(
        self, hook: WebhookRequest, change: LabelChange, config: LabelConfig | None
    ) -> None:
        if hook.action in DELETED:
            annotations_deleted(self._database, hook.project, hook.annotation_ids)
        elif config is not None:
            for annotation in change.annotations:
                task = annotation.task_id
                annotation_saved(self._database, hook.project, task, annotation, config)
