"""The page holds what was measured, needs nothing but itself, and says what it must."""

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from training.evaluation.cases import cases_of
from training.evaluation.gallery import choose, outline
from training.evaluation.overlay import SMALLEST_VIEW, around
from training.evaluation.page import curves, histograms, interactions_needed, whisker
from training.evaluation.run import Measurement, Run


class Tags(HTMLParser):
    """Checks that what is opened is closed, and gathers what is asked for."""

    VOID = frozenset({"meta", "br", "image"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_an_outline_follows_the_pixels_edges() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:5, 3:7] = True
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", outline(mask))]
    xs, ys = numbers[0::2], numbers[1::2]
    assert (min(xs), max(xs)) == (3.0, 7.0)
    assert (min(ys), max(ys)) == (2.0, 5.0)
    assert outline(np.zeros((4, 4), bool)) == ""


def test_small_objects_are_looked_at_closely() -> None:
    mask = np.zeros((100, 200), bool)
    mask[10:14, 180:186] = True
    left, top, width, height = around([mask], [(181.5, 12.5, True)])
    assert (width, height) == (round(SMALLEST_VIEW * 200), round(SMALLEST_VIEW * 100))
    assert left + width == 200
    assert top == 0
    far = [(2.5, 98.5, False)]
    assert around([mask], far) == (0, 0, 200, 100)


def test_the_best_and_the_worst_are_chosen(
    make_sample: Any, make_pictures: Any, make_scripted: Any
) -> None:
    # given a method that gets worse from picture to picture
    def worse(picture: Any, clicks: Any, phrase: str) -> Any:
        mask = picture.mask(1)
        columns = np.flatnonzero(mask.any(0))
        mask[:, columns[len(columns) - 2 * int(picture.key)] :] = False
        return mask

    dataset = make_pictures([make_sample(str(n)) for n in range(1, 10)])
    run = Run(make_scripted("worse", worse), "clicks")
    cases = [case for case in cases_of(dataset) if case.ids == (1,)]
    measurement = Measurement(dataset, [run], {"clicks": cases})
    measurement.ask_all()
    # when
    shown = choose(measurement)
    # then
    keys = {kind: [e.title.split(" · ")[-1] for e in exhibits] for kind, exhibits in shown.items()}
    assert keys == {"best": ["1", "2", "3"], "middle": ["4", "5", "6"], "worst": ["9", "8", "7"]}
    panel = shown["worst"][0].panels[0]
    assert panel.failed
    assert len(panel.clicks) == 3
    assert shown["best"][0].picture.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_few_pictures_are_each_shown_once(
    count: int, make_sample: Any, make_pictures: Any, oracle: Any
) -> None:
    dataset = make_pictures([make_sample(str(n)) for n in range(count)])
    run = Run(oracle, "clicks")
    measurement = Measurement(dataset, [run], {"clicks": cases_of(dataset)})
    measurement.ask_all()
    titles = [
        e.title.split(" · ")[-1] for exhibits in choose(measurement).values() for e in exhibits
    ]
    assert sorted(titles) == sorted(set(titles))
    assert len(titles) == min(count, 3)


def test_curves_have_a_name_for_each_run_and_the_colours_of_the_page() -> None:
    def run(end: float) -> dict[str, Any]:
        return {"curve": [{"mean": m, "interval": (m - 0.1, m)} for m in (0.5, 0.8, end)]}

    chart = curves([run(0.9), run(0.902)], ["first", "<second>"])
    texts = "".join(ElementTree.fromstring(chart).itertext())
    assert "first" in texts
    assert "<second>" in texts
    assert "var(--s0)" in chart
    assert "var(--s1)" in chart
    assert curves([{"curve": [{"mean": 0.5, "interval": (0.4, 0.6)}]}], ["a"]) == ""


def test_a_histogram_distinguishes_the_twentieth_click_from_never() -> None:
    cases = [
        {"noc90": 1, "ious": [0.95]},
        {"noc90": 20, "ious": [0.5] * 19 + [0.91]},
        {"noc90": 20, "ious": [0.5] * 20},
        {"noc90": 20, "ious": [0.5] * 20},
    ]
    assert interactions_needed({"per_case": cases}) == [1, *[0] * 18, 1, 2]
    chart = histograms([(0, {"per_case": cases}, "a")])
    assert "never" in "".join(ElementTree.fromstring(chart).itertext())
    assert histograms([]) == ""


def test_a_whisker_stays_on_its_scale() -> None:
    drawn = whisker({"mean": 0.1, "interval": (-0.9, 0.2)}, -0.5, 0.5, 100.0, aim=0.06)
    assert (drawn.low, drawn.mean, drawn.high, drawn.zero, drawn.aim) == (0, 60, 70, 50, 56)
    assert whisker({"mean": 0.9, "interval": (0.8, 1.0)}, 0.0, 1.0, 100.0).zero is None


def test_elements_that_xml_knows_are_whole() -> None:
    path = outline(np.ones((3, 3), bool))
    ElementTree.fromstring(f'<svg xmlns="http://www.w3.org/2000/svg"><path d="{path}"/></svg>')
