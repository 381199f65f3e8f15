"""Metrics for Prometheus: names, bounded labels, several processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend.metrics import Gauges, Metrics


def text(metrics: Metrics) -> str:
    return metrics.exposition().decode()


def test_requests_are_counted_and_timed() -> None:
    metrics = Metrics()
    metrics.request("/predict", 200, 0.042)
    metrics.request("/predict", 200, 0.2)

    assert 'phraseclick_requests_total{route="/predict",status="200"} 2.0' in text(metrics)
    assert 'phraseclick_request_seconds_bucket{le="0.045",route="/predict"} 1.0' in text(metrics)
    assert 'phraseclick_request_seconds_count{route="/predict"} 2.0' in text(metrics)


def test_steps_interactions_failures_cache_and_model() -> None:
    metrics = Metrics()
    metrics.step("encode", 0.2)
    metrics.interaction("click", "mask")
    metrics.failure(ValueError("x"))
    metrics.embedding(at_hand=True)
    metrics.embedding(at_hand=False)
    metrics.delivery("ANNOTATION_CREATED")
    metrics.models({"first-1234"})

    said = text(metrics)
    assert 'phraseclick_step_seconds_count{step="encode"} 1.0' in said
    assert 'phraseclick_interactions_total{kind="click",outcome="mask"} 1.0' in said
    assert 'phraseclick_failures_total{error="ValueError"} 1.0' in said
    assert 'phraseclick_embedding_cache_total{result="hit"} 1.0' in said
    assert 'phraseclick_embedding_cache_total{result="miss"} 1.0' in said
    assert 'phraseclick_deliveries_total{action="ANNOTATION_CREATED"} 1.0' in said
    assert 'phraseclick_model_info{version="first-1234"} 1.0' in said


def test_two_services_in_one_process_do_not_mix() -> None:
    one, other = Metrics(), Metrics()
    one.task("mask")

    assert 'outcome="mask"' in text(one)
    assert 'outcome="mask"' not in text(other)


def test_prompts_are_counted_by_sign_and_nothing_else_is() -> None:
    metrics = Metrics()
    metrics.prompts(["positive_click", "positive_click", "phrase", "undo"])

    said = text(metrics)
    assert 'phraseclick_prompts_total{sign="positive"} 2.0' in said
    assert 'phraseclick_prompts_total{sign="negative"} 0.0' in said
    assert 'phraseclick_prompts_total{sign="phrase"} 1.0' in said
    assert "undo" not in said


def test_series_that_ended_are_left_out() -> None:
    metrics = Metrics()
    metrics.gauges(Gauges(champions={"6.1": "old"}, deliveries={"waiting": 3}))
    assert 'phraseclick_champion_info{project="6.1",version="old"} 1.0' in text(metrics)
    assert 'phraseclick_deliveries_open{state="waiting"} 3.0' in text(metrics)

    metrics.gauges(Gauges(champions={"6.1": "new"}, jobs={("training", "running"): 1}))

    said = text(metrics)
    assert 'phraseclick_champion_info{project="6.1",version="new"} 1.0' in said
    assert 'version="old"' not in said
    assert 'phraseclick_jobs{kind="training",state="running"} 1.0' in said


@pytest.mark.parametrize(
    ("ended", "shown", "figure"),
    [
        ("m.task('mask')", "m.task('mask')", 'batch_tasks_total{outcome="mask"} 2.0'),
        ("m.cached(1000)", "m.cached(30)", "embedding_cache_bytes 30.0"),
    ],
    ids=["counts are added up", "memory of an ended process no longer counts"],
)
def test_figures_are_those_of_several_processes(
    tmp_path: Path, ended: str, shown: str, figure: str
) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for counts in (ended, shown):
        script = f"from backend.metrics import Metrics; m = Metrics(); {counts}; "
        printed = subprocess.run(
            [sys.executable, "-c", f"{script}print(m.exposition().decode())"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert f"phraseclick_{figure}" in printed
