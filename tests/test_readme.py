"""Documents agree with the code: commands, links, paths and make targets exist."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from backend.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "backend" / "ADMINS.md",
    ROOT / "plugin_config" / "ANNOTATORS.md",
    ROOT / "training" / "ENGINEERS.md",
]
MAKEFILE = (ROOT / "Makefile").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text()):
        if "://" not in target:
            file = page.parent / target if target else page
            assert file.exists(), target
            assert not anchor or anchor in anchors(file), anchor


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.MULTILINE))

    assert named <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_take_the_options_that_are_named(page: Path) -> None:
    commands: Any = get_command(app)
    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^ *(?:\.venv/bin/)?phraseclick (.+?)(?: +#.*)?$", text, re.MULTILINE):
        name, *arguments = line.replace("'", "").split()
        commands.commands[name].make_context(name, arguments)


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:backend|training|model|tests)/[\w/]+(?:\.py)?)`", text)
    # In drawings, paths start inside backend.
    drawn = re.findall(r'\["([^"]+)"\]', text)
    for label in drawn:
        named += [path for path in label.split("<br>") if path.endswith(".py")]

    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "backend" / path).exists(), path


def test_contributing_lists_the_layers_of_the_contract() -> None:
    # given
    contracts = PYPROJECT["tool"]["importlinter"]["contracts"]
    layers = next(
        contract["layers"] for contract in contracts if contract.get("containers") == ["backend"]
    )
    # when
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.partition("| layer |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    # then
    assert listed == [name for layer in layers for name in re.split(r" *\| *", layer)]


def test_make_help_lists_every_target_and_variable() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)

    (phony,) = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    for name in [*phony.split(), *re.findall(r"^([A-Z_]+) \?=", MAKEFILE, re.MULTILINE)]:
        assert re.search(rf"^  (make )?{name}  +\S", shown.stdout, re.MULTILINE), name


def test_ci_runs_the_readmes_test_command() -> None:
    assert "\nmake test\n" in (ROOT / "README.md").read_text()
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert {"run": ".ci/run"} in workflow["jobs"]["test"]["steps"]


def test_pre_commit_runs_the_checks_of_make_lint() -> None:
    # given
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook["entry"] for repository in config["repos"] for hook in repository["hooks"]]
    # when
    lint = MAKEFILE.partition("\nlint:")[2].partition("\n\n")[0]
    # then
    checks = re.findall(r"\.venv/bin/[^\n]+", lint)
    assert [re.sub(r" \.$", "", check) for check in checks] == [
        hook.removesuffix(" --force-exclude") for hook in hooks
    ]
