"""Variables of a labeling config, as the page fills them in."""

import pytest

from backend.label_studio.controls import resolved, text_of

DATA = {
    "image": "/a.png",
    "pic": {"url": "/b.png", "sizes": [1, 2]},
    "pics": ["/c.png", {"url": "/d.png"}],
    "pic.dotted": "/e.png",
    "number": 7,
    "whole": 6.0,
    "imag\u00e9": "/f.png",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$image", "/a.png"),
        ("$pic.url", "/b.png"),
        ("$pics[0]", "/c.png"),
        ("$pics[1].url", "/d.png"),
        ("$pic.dotted", "/e.png"),
        ("$pic.sizes", [1, 2]),
        ("$pics[9]", ""),
        ("$image.url", ""),
        ("$missing", ""),
        ("https://host/x.png", "https://host/x.png"),
        ("https://host$image?n=$number", "https://host/a.png?n=7"),
        ("https://host/$missing.png", "https://host/"),
        ("https://host/$whole", "https://host/6"),
        ("https://host/$imag\u00e9", "https://host/\u00e9"),
        ("", ""),
    ],
)
def test_a_variable_is_the_tasks_own_key_or_a_path(text: str, value: object) -> None:
    assert resolved(text, DATA) == value


@pytest.mark.parametrize(
    ("text", "value"), [("$pics", "/c.png"), ("$pic", ""), ("$number", ""), ("$image", "/a.png")]
)
def test_where_a_text_is_expected_a_list_gives_its_first(text: str, value: str) -> None:
    assert text_of(text, DATA) == value


def test_a_long_value_fills_no_memory_however_often_it_is_asked_for() -> None:
    value = resolved("$a-" * 20_000, {"a": "x" * 1_000_000})

    assert len(value) < 10_000_000
