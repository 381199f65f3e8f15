"""The page for admins says what the code does: every setting, every command, every sentence."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from backend.settings import MIB, Settings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "backend" / "ADMINS.md").read_text()
CODE = "\n".join(path.read_text() for path in (ROOT / "backend").rglob("*.py"))


def _shown(default: object) -> str:
    """A default value as written on the page."""
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    if default in ("", None):
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int) and default >= MIB and default % MIB == 0:
        return f"`{default}` ({default // MIB} MiB)"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_the_table_holds_every_setting_with_its_default_and_meaning() -> None:
    # given
    expected = [
        f"| `PHRASECLICK_{name.upper()}` | {_shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    # then: a difference shows the lines to copy
    assert re.findall(r"^\| `PHRASECLICK_.*$", PAGE, re.MULTILINE) == expected


def test_every_variable_that_the_page_names_is_a_setting() -> None:
    names = {name.lower() for name in re.findall(r"PHRASECLICK_([A-Z_]+)", PAGE)}
    assert names <= set(Settings.model_fields)


@pytest.mark.parametrize(
    "sentence",
    [
        "The picture could not be read",
        "its host cannot be reached",
        "it did not come within ",
        "which is in a private network",
        "its file is larger than ",
        "megapixels that are ",
        "The address of Label Studio is unknown",
        "not known",
        "nothing found here",
        "The backend failed on this request",
    ],
)
def test_sentences_of_the_page_are_those_of_the_code(sentence: str) -> None:
    assert sentence in PAGE
    assert sentence in CODE


def test_pages_that_it_points_to_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGE):
        if "://" not in target:
            assert (ROOT / "backend" / target).exists(), target
