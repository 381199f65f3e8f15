"""What Prometheus reads at ``/metrics``: counts and times of this server, all its processes.

Reports for people come from the event log in the database; these figures are for alarms and graphs
and start at zero with the server.
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


_SIGNS = {"positive_click": "positive", "negative_click": "negative", "phrase": "phrase"}


@dataclass(frozen=True)
class Gauges:
    """What waits and runs at one moment, as the database has it."""

    labels: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (project, what)
    deliveries: Mapping[str, int] = field(default_factory=dict)  # waiting, given up
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, state)
    processes: Mapping[str, int] = field(default_factory=dict)  # that live, by kind
    champions: Mapping[str, str] = field(default_factory=dict)  # project -> version


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
        self._prompts = Counter(
            "phraseclick_prompts_total",
            "What annotators told the model, by sign: positive, negative, phrase.",
            ("sign",),
            registry=self._registry,
        )
        for sign in _SIGNS.values():
            self._prompts.labels(sign)
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
        self._cached = Gauge(
            "phraseclick_embedding_cache_bytes",
            "Memory that encoded pictures take, all server processes together.",
            registry=self._registry,
            multiprocess_mode="livesum",
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
        # Whoever is asked has just read these, so they are no matter of several processes.
        self._now = _Now()
        self._here = CollectorRegistry()
        self._here.register(self._now)

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

    def prompts(self, kinds: Collection[str]) -> None:
        """Clicks and phrases that were new in a request, as the event log names them."""
        for kind in kinds:
            if kind in _SIGNS:
                self._prompts.labels(_SIGNS[kind]).inc()

    def failure(self, error: BaseException) -> None:
        """An error that ended a request or emptied a task's answer."""
        self._failures.labels(type(error).__name__).inc()

    def embedding(self, *, at_hand: bool) -> None:
        """An embedding was needed."""
        self._cache.labels("hit" if at_hand else "miss").inc()

    def cached(self, nbytes: int) -> None:
        """What the embeddings of this process take."""
        self._cached.set(nbytes)

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

    def gauges(self, now: Gauges) -> None:
        """What the database holds at this moment."""
        self._now.told(now)

    def exposition(self) -> bytes:
        """Everything in Prometheus' text format; of all server processes where there are more."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry) + generate_latest(self._here)
        _forget_the_dead(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return generate_latest(everyone) + generate_latest(self._here)


class _Now(Collector):
    """What the database held when it was last looked at."""

    def __init__(self) -> None:
        self.gauges = Gauges()
        self._labels: dict[tuple[str, str], int] = {}

    def told(self, now: Gauges) -> None:
        """What it holds now. What was counted of labels before and is no more becomes 0."""
        self._labels = {**dict.fromkeys(self._labels, 0), **now.labels}
        self.gauges = now

    def collect(self) -> Iterator[Metric]:
        """As gauges; but for labels, what is no more has none."""
        now = self.gauges
        yield _gauge(
            "labels",
            "Accepted labels in the database, by project and by what became of them.",
            ("project", "what"),
            self._labels,
        )
        yield _gauge(
            "deliveries_open",
            "Webhook deliveries in the database that are not settled: waiting, or given up.",
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
            "Processes that spoke within half a minute: server, worker, training, scheduler.",
            ("kind",),
            {(kind,): number for kind, number in now.processes.items()},
        )
        yield _gauge(
            "champion_info",
            "1 for the model version that a project is to be served by.",
            ("project", "version"),
            dict.fromkeys(now.champions.items(), 1),
        )


def _gauge(name: str, about: str, labels: Sequence[str], figures: Mapping[Any, int]) -> Metric:
    family = GaugeMetricFamily(f"phraseclick_{name}", about, labels=labels)
    for named, number in figures.items():
        family.add_metric(named, number)
    return family


def _forget_the_dead(folder: Path) -> None:
    """What a process held at its end, it holds no more."""
    for file in folder.glob("gauge_live*.db"):
        named = re.search(r"_(\d+)\.db$", file.name)
        if named and not _lives(int(named[1])):
            mark_process_dead(int(named[1]))  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
