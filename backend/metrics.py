"""Metrics for Prometheus at ``/metrics``, of all processes of this server.

They are for alerts and graphs, and start at zero with the server. Reports on labeling come from the
event log in the database.
"""

import os
import re
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

# From a cached click on a small picture to Label Studio's own limit of 100 s.
_MILLISECONDS = (10, 20, 30, 45, 60, 90, 120, 200, 300, 500, 1e3, 2.5e3, 5e3, 1e4, 3e4, 1e5)
_BUCKETS = tuple(milliseconds / 1000 for milliseconds in _MILLISECONDS)

_SIGNS = {"positive_click": "positive", "negative_click": "negative", "phrase": "phrase"}


@dataclass(frozen=True)
class Gauges:
    """The state of the database at one moment."""

    labels: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (project, what)
    deliveries: Mapping[str, int] = field(default_factory=dict)  # waiting, given up
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, state)
    processes: Mapping[str, int] = field(default_factory=dict)  # running, by kind
    champions: Mapping[str, str] = field(default_factory=dict)  # project -> version


class Metrics:
    """The metrics of one server. Thread-safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "requests_total", "HTTP requests by route and status.", "route", "status"
        )
        self._seconds = self._histogram(
            "request_seconds",
            "Seconds from the request's last byte to the answer's first, by route.",
            "route",
        )
        self._interactions = self._counter(
            "interactions_total",
            "Clicks and phrases by kind and outcome (mask, empty, failed).",
            "kind",
            "outcome",
        )
        self._prompts = self._counter(
            "prompts_total", "Prompts by sign: positive, negative, phrase.", "sign"
        )
        for sign in _SIGNS.values():
            self._prompts.labels(sign)
        self._steps = self._histogram(
            "step_seconds",
            "Seconds of an interaction's steps: memory, picture, encode, predict, answer, record.",
            "step",
        )
        self._failures = self._counter(
            "failures_total", "Requests that ended in an error, by the error's class.", "error"
        )
        self._cache = self._counter(
            "embedding_cache_total",
            "Embeddings that were cached (hit) or computed (miss).",
            "result",
        )
        self._tasks = self._counter(
            "batch_tasks_total",
            "Tasks predicted in batches, by outcome (mask, empty, failed).",
            "outcome",
        )
        self._deliveries = self._counter(
            "deliveries_total", "Webhook deliveries stored, by Label Studio's action.", "action"
        )
        self._cached = Gauge(
            "phraseclick_embedding_cache_bytes",
            "Memory used by encoded pictures in all server processes.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._model = Gauge(
            "phraseclick_model_info",
            "1 for each model version that serves, 0 for those that did.",
            ("version",),
            registry=self._registry,
            multiprocess_mode="max",
        )
        self._models: set[str] = set()
        # Predictions of several tasks that are being made: by project, how far they are.
        self.batches: dict[str, str] = {}
        # Read from the database for each request, so not collected from several processes.
        self._now = _DatabaseGauges()
        self._here = CollectorRegistry()
        self._here.register(self._now)

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"phraseclick_{name}", about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(
            f"phraseclick_{name}", about, labels, buckets=_BUCKETS, registry=self._registry
        )

    def step(self, name: str, seconds: float) -> None:
        """A step of an interaction took so long."""
        self._steps.labels(name).observe(seconds)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def interaction(self, kind: str, outcome: str) -> None:
        """One click or phrase: ``outcome`` is mask, empty or failed."""
        self._interactions.labels(kind, outcome).inc()

    def prompts(self, kinds: Collection[str]) -> None:
        """Clicks and phrases that were new in a request, as the event log names them."""
        for kind in kinds:
            if kind in _SIGNS:
                self._prompts.labels(_SIGNS[kind]).inc()

    def failure(self, error: BaseException) -> None:
        """An error that failed a request, or a task in a batch."""
        self._failures.labels(type(error).__name__).inc()

    def embedding(self, *, at_hand: bool) -> None:
        """An embedding was needed."""
        self._cache.labels("hit" if at_hand else "miss").inc()

    def cached(self, nbytes: int) -> None:
        """Bytes of the embeddings in this process."""
        self._cached.set(nbytes)

    def task(self, outcome: str) -> None:
        self._tasks.labels(outcome).inc()

    def delivery(self, action: str) -> None:
        self._deliveries.labels(action).inc()

    def models(self, versions: Collection[str]) -> None:
        """The versions that serve now."""
        for version in self._models - set(versions):
            self._model.labels(version).set(0)
        self._models |= set(versions)
        for version in versions:
            self._model.labels(version).set(1)

    def gauges(self, now: Gauges) -> None:
        self._now.gauges = now

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format, of all server processes if there are several."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry) + generate_latest(self._here)
        _forget_ended_processes(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone) + generate_latest(self._here)


class Steps:
    """Milliseconds of each step of one request, for the event log and the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started = time.perf_counter()
        self.milliseconds: dict[str, float] = {}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Time a step; the same step twice adds up."""
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            self._metrics.step(step, spent)
            self.milliseconds[step] = round(self.milliseconds.get(step, 0.0) + spent * 1000, 2)

    def total(self) -> float:
        """Milliseconds since the request came."""
        return round((time.perf_counter() - self._started) * 1000, 2)


class _DatabaseGauges(Collector):
    """The state of the database when it was last read."""

    def __init__(self) -> None:
        self.gauges = Gauges()

    def collect(self) -> Iterator[Metric]:
        """As gauges. Series that no longer exist are left out."""
        now = self.gauges
        yield _gauge(
            "labels",
            "Accepted labels in the database, by project and state.",
            ("project", "what"),
            now.labels,
        )
        yield _gauge(
            "deliveries_open",
            "Webhook deliveries that are not processed: waiting, or given up.",
            ("state",),
            {(state,): number for state, number in now.deliveries.items()},
        )
        yield _gauge(
            "jobs",
            "Background jobs by kind (training, scoring, replay) and state.",
            ("kind", "state"),
            now.jobs,
        )
        yield _gauge(
            "processes",
            "Processes seen within half a minute: server, worker, training, scheduler.",
            ("kind",),
            {(kind,): number for kind, number in now.processes.items()},
        )
        yield _gauge(
            "champion_info",
            "1 for the model version that a project is configured to use.",
            ("project", "version"),
            dict.fromkeys(now.champions.items(), 1),
        )


def _gauge(name: str, about: str, labels: Sequence[str], figures: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"phraseclick_{name}", about, labels=labels)
    for named, number in figures.items():
        family.add_metric(named, number)
    return family


def _forget_ended_processes(folder: Path) -> None:
    """Delete the gauges of processes that have ended."""
    for file in folder.glob("gauge_live*.db"):
        named = re.search(r"_(\d+)\.db$", file.name)
        if named and not _runs(int(named[1])):
            mark_process_dead(int(named[1]))  # type: ignore[no-untyped-call]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
