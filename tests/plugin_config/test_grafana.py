"""The dashboard for Grafana asks for what the backend tells, and for nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.metrics import Gauges, Metrics

BOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "plugin_config" / "grafana.json").read_text()
)


def panels() -> Iterator[dict[str, Any]]:
    for panel in BOARD["panels"]:
        yield panel
        yield from panel.get("panels", [])


def expressions() -> list[str]:
    queries = [target["expr"] for panel in panels() for target in panel.get("targets", [])]
    return queries + [annotation["expr"] for annotation in BOARD["annotations"]["list"]]


@pytest.fixture(scope="module")
def exposed() -> dict[str, set[str]]:
    """The labels of each exposed series, after every kind of event has occurred once."""
    metrics = Metrics()
    metrics.request("/predict", 200, 0.03)
    metrics.step("encode", 0.2)
    metrics.interaction("click", "mask")
    metrics.prompts(["positive_click"])
    metrics.failure(ValueError("x"))
    metrics.embedding(at_hand=True)
    metrics.cached(1000)
    metrics.task("mask")
    metrics.delivery("ANNOTATION_CREATED")
    metrics.models({"base-1"})
    metrics.gauges(
        Gauges(
            labels={("6.1", "annotations accepted"): 3},
            deliveries={"waiting": 0},
            jobs={("training", "queued"): 1},
            processes={"server": 1},
            champions={"6.1": "base-1"},
        )
    )
    series: dict[str, set[str]] = {}
    for line in metrics.exposition().decode().splitlines():
        if not line.startswith("#"):
            name, labels = re.fullmatch(r"(\w+)(?:\{(.*)\})? \S+", line).groups()  # type: ignore[union-attr]
            series.setdefault(name, set()).update(re.findall(r'(\w+)="', labels or ""))
    return series


def test_each_metric_and_label_is_one_that_the_backend_tells(exposed: dict[str, set[str]]) -> None:
    for expression in expressions():
        series = re.findall(r"(phraseclick_\w+)(?:\{([^}]*)\})?", expression)
        assert series, expression
        for name, wanted in series:
            assert name in exposed, f"{name} in {expression}"
            labels = set(re.findall(r'(\w+)\s*[=!]~?"', wanted))
            for grouped in re.findall(r"by \(([^)]*)\)", expression):
                labels |= {label.strip() for label in grouped.split(",")}
            assert labels <= exposed[name] | {"le"}, expression


def test_legends_name_labels_that_the_series_has(exposed: dict[str, set[str]]) -> None:
    for panel in panels():
        for target in panel.get("targets", []):
            (name, *_) = re.findall(r"phraseclick_\w+", target["expr"])
            legend = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            assert legend <= exposed[name], panel["title"]


def test_every_metric_of_the_backend_is_shown(exposed: dict[str, set[str]]) -> None:
    shown = " ".join(expressions())
    for name in exposed:
        family = re.sub(r"_(total|bucket|count|sum|created)$", "", name)
        assert family in shown, f"no panel shows {family}"


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        taken |= cells


def test_every_panel_asks_the_data_source_that_is_chosen() -> None:
    (chosen,) = BOARD["templating"]["list"]
    assert chosen["type"] == "datasource"
    assert chosen["query"] == "prometheus"
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
            assert panel["title"], panel["id"]
            assert panel["description"], panel["id"]
            assert [target["refId"] for target in panel["targets"]]
