"""The shipped labeling configs, read as the backend reads them."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from backend.label_studio.config import parse_config
from backend.label_studio.controls import ImageControls

CONFIGS = Path(__file__).resolve().parents[2] / "plugin_config"
READY = sorted(CONFIGS.glob("*.xml"))


def controls(path: Path) -> ImageControls:
    """The only image of a config and what points to it."""
    (image,) = parse_config(path.read_text(encoding="utf-8")).images
    return image


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_a_shipped_config_leaves_nothing_to_warn_of(path: Path) -> None:
    config = parse_config(path.read_text(encoding="utf-8"))
    assert config.warnings == ()
    assert controls(path).status == "status"


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_click_label_has_its_brush_label(path: Path) -> None:
    image = controls(path)
    painted = {label.value: label.alias for _, label in image.labels}
    for control in image.clicks:
        clicked = {c.label.value: c.label.alias for c in control.labels if c.role == "object"}
        assert clicked == painted
        assert {c.role for c in control.labels} == {"object", "add", "remove"}


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_the_style_outlives_label_studio(path: Path) -> None:
    """Label Studio stores ``>`` in a style as ``&gt;``, which no browser understands."""
    (style,) = ElementTree.fromstring(path.read_text(encoding="utf-8")).iter("Style")
    assert style.text
    assert not set("<>&") & set(style.text)


def test_each_config_asks_for_what_its_name_says() -> None:
    asks = {path.stem: controls(path) for path in READY}
    assert {name for name, image in asks.items() if image.clicks} == {
        "click_and_phrase",
        "clicks_only",
        "several_labels",
    }
    assert {name for name, image in asks.items() if image.phrase} == {
        "click_and_phrase",
        "phrase_only",
        "several_labels",
    }
    assert any(label.alias for _, label in asks["several_labels"].labels)
