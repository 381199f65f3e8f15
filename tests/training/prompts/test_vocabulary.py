"""The vocabulary lists every word that generated phrases can contain."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from model.word_forms import FUNCTION_WORDS
from training.prompts import facts, groups, phrases
from training.prompts.scenes import WHOLES
from training.prompts.vocabulary import every_word_for, phrase_words

# Literals of the template modules that are names inside the code and never said.
INTERNAL = frozenset({"colour", "pattern", "place", "size", "light", "side", "row", "aeiou"})


def literal_words(source: Path) -> set[str]:
    """The words of all string literals but docstrings and annotations."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    silent: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            silent.add(node.value)
        elif isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
            silent.update(ast.walk(node.annotation))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in (
            "COLOURLESS",
            "SIDED",
        ):
            silent.update(ast.walk(node.value))
    texts = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent
    ]
    return {word for text in texts for word in re.findall("[a-z]+", text)}


def listed(categories: tuple[str, ...] = ()) -> set[str]:
    return {word for text in phrase_words(categories) for word in text.split()}


@pytest.mark.parametrize("module", [facts, groups, phrases], ids=lambda module: module.__name__)
def test_every_word_of_a_template_is_listed(module: object) -> None:
    said = literal_words(Path(str(module.__file__)))  # type: ignore[attr-defined]

    assert said - listed() - INTERNAL - FUNCTION_WORDS == set()


def test_every_word_for_a_whole_is_listed() -> None:
    for whole in WHOLES.values():
        said = {word for name in whole.names for word in name.split()}

        assert said - listed((whole.concept,)) - FUNCTION_WORDS == set()


def test_every_name_of_a_category_is_listed() -> None:
    names = {word for name in every_word_for("sofa") for word in name.split()}

    assert names | {"sofas"} <= listed(("couch",))
