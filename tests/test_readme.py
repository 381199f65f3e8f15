"""The README's commands exist and its links lead somewhere."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from backend.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "backend" / "ADMINS.md",
    ROOT / "plugin_config" / "ANNOTATORS.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    for target in set(re.findall(r"^make ([\w-]+)", page.read_text(), re.MULTILINE)):
        asked = subprocess.run(
            ["make", "--dry-run", "--always-make", target], cwd=ROOT, capture_output=True
        )
        assert asked.returncode == 0, asked.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_take_the_options_that_are_named(page: Path) -> None:
    commands: Any = get_command(app)
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?:\.venv/bin/)?phraseclick (.+?)(?:  +#.*)?$", text, re.MULTILINE):
        name, *arguments = line.split()
        commands.commands[name].make_context(name, arguments)


def test_ci_runs_the_readmes_test_command() -> None:
    assert "\nmake test\n" in (ROOT / "README.md").read_text()
    assert "make test" in (ROOT / ".ci" / "run").read_text()
