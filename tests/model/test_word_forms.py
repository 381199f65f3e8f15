"""Singular and plural: whether a phrase asks for one thing or for all of a kind."""

from __future__ import annotations

import pytest

from model.word_forms import as_singular, is_plural, singular


@pytest.mark.parametrize(
    "phrase",
    [
        *("cups", "all nuclei", "two small dogs on the left", "3 red cups", "the three red rings"),
        *("buses", "people", "leaves", "both sheep", "every cell", "each cell", "bacteria"),
        *("red ones", "top row of windows", "a pair of shoes", "all of the cells", "dogs left"),
        *("dogs sitting on the grass", "cells without a nucleus", "the dog's ears"),
        *("a lot of dogs", "a dozen cups", "a number of red cells", "a herd of cows"),
        *("tvs", "cilia", "dogs lying down", "cups but not the red one", "a stack of plates"),
    ],
)
def test_phrases_about_several_things(phrase: str) -> None:
    assert is_plural(phrase.split())


@pytest.mark.parametrize(
    "phrase",
    [
        *("cup", "the nucleus", "a cup", "one of the cups", "the dog between two cups", "bus"),
        *("cup in the boxes", "glasses", "jeans", "grass", "lens", "woman with sunglasses"),
        *("third window from the left", "dog sitting on the stairs", "the dogs' ear", "1 cup"),
        *("sheep", "", "none", "goggles", "rhinoceros"),
    ],
)
def test_phrases_about_one_thing(phrase: str) -> None:
    assert not is_plural(phrase.split())


@pytest.mark.parametrize(
    ("phrase", "about_one"),
    [
        ("two small dogs on the left", "small dog on the left"),
        ("all of the nuclei", "nucleus"),
        ("3 boxes", "box"),
        ("red ones", "red one"),
        ("cup", "cup"),
        ("all", "all"),
    ],
)
def test_what_a_phrase_says_about_one_of_them(phrase: str, about_one: str) -> None:
    assert " ".join(as_singular(phrase.split())) == about_one


@pytest.mark.parametrize(
    ("word", "one"),
    [
        ("cherries", "cherry"),
        ("dishes", "dish"),
        ("houses", "house"),
        ("bus", "bus"),
        ("viruses", "virus"),
        ("potatoes", "potato"),
        ("shoes", "shoe"),
        ("cookies", "cookie"),
        ("scarves", "scarf"),
        ("canvases", "canvas"),
    ],
)
def test_singular_of_a_word(word: str, one: str) -> None:
    assert singular(word) == one
