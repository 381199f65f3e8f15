"""What Prometheus reads at ``/metrics``: counts and times of this server, all its processes.

Reports for people come from the event log in the database; these figures are for alarms and graphs
and start at zero with the server.
"""

import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a cached click on a small picture to Label Studio's own limit of 100 s.
_SECONDS = (
    0.01,
    0.02,
    0.03,
    0.045,
    0.06,
    0.09,
    0.12,
    0.2,
    0.3,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    100.0,
)


class Metrics:
    """The figures of one server. Built once; every method is thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "phraseclick_requests_total",
            "HTTP requests by route and status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "phraseclick_request_seconds",
            "Seconds from the request's last byte to the answer's first, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._interactions = Counter(
            "phraseclick_interactions_total",
            "Clicks and phrases by kind and by what came of them (mask, empty, failed).",
            ("kind", "outcome"),
            registry=self._registry,
        )
        self._steps = Histogram(
            "phraseclick_step_seconds",
            "Seconds of an interaction's steps: memory, picture, encode, predict, answer, record.",
            ("step",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._failures = Counter(
            "phraseclick_failures_total",
            "Requests that ended in an error, by the error's class.",
            ("error",),
            registry=self._registry,
        )
        self._cache = Counter(
            "phraseclick_embedding_cache_total",
            "Whether a picture's embedding was at hand (hit) or had to be made (miss).",
            ("result",),
            registry=self._registry,
        )
        self._tasks = Counter(
            "phraseclick_batch_tasks_total",
            "Tasks predicted in batches, by outcome (mask, empty, failed).",
            ("outcome",),
            registry=self._registry,
        )
        self._deliveries = Counter(
            "phraseclick_deliveries_total",
            "Webhook deliveries stored, by Label Studio's action.",
            ("action",),
            registry=self._registry,
        )
        self._model = Gauge(
            "phraseclick_model_info",
            "1 for each model version that serves, 0 for those that did.",
            ("version",),
            registry=self._registry,
            multiprocess_mode="max",
        )
        self._models: set[str] = set()
        self._labels = Gauge(
            "phraseclick_labels",
            "Accepted labels in the database, by project and by what became of them.",
            ("project", "what"),
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )
        self._labels_known: set[tuple[str, str]] = set()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step of an interaction."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._steps.labels(name).observe(time.perf_counter() - started)

    def request(self, route: str, status: int, seconds: float) -> None:
        """One answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def interaction(self, kind: str, outcome: str) -> None:
        """One click or phrase: ``outcome`` is mask, empty or failed."""
        self._interactions.labels(kind, outcome).inc()

    def failure(self, error: BaseException) -> None:
        """An error that ended a request or emptied a task's answer."""
        self._failures.labels(type(error).__name__).inc()

    def embedding(self, *, at_hand: bool) -> None:
        """An embedding was needed."""
        self._cache.labels("hit" if at_hand else "miss").inc()

    def task(self, outcome: str) -> None:
        """One task of a batch."""
        self._tasks.labels(outcome).inc()

    def delivery(self, action: str) -> None:
        """One stored webhook delivery."""
        self._deliveries.labels(action).inc()

    def models(self, versions: Collection[str]) -> None:
        """The versions that serve, one for each project or for all."""
        for version in self._models - set(versions):
            self._model.labels(version).set(0)
        self._models |= set(versions)
        for version in versions:
            self._model.labels(version).set(1)

    def labels(self, figures: Mapping[tuple[str, str], int]) -> None:
        """What the database holds of accepted labels: (project, what) -> number."""
        for named in self._labels_known - set(figures):
            self._labels.labels(*named).set(0)
        self._labels_known |= set(figures)
        for named, number in figures.items():
            self._labels.labels(*named).set(number)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format; of all server processes where there are more."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone)
