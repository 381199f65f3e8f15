"""Dockerfile and compose file, as far as they can be checked without a Docker engine."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from backend.cli.main import app
from backend.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "plugin_config" / "compose.yaml"
EXAMPLE = ROOT / "plugin_config" / ".env.example"
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture
def compose() -> Any:
    return yaml.safe_load(COMPOSE.read_text())


def _is_a_command(words: list[str]) -> bool:
    """Whether ``phraseclick`` accepts these arguments."""
    program, name, *arguments = words
    commands: Any = get_command(app)
    known = commands.commands[name]
    known.make_context(name, list(arguments))  # raises where an option is unknown
    return program == "phraseclick"


OURS = {"backend", "worker", "training-worker", "scheduler"}


def test_all_services_are_there(compose: Any) -> None:
    assert set(compose["services"]) == {"label-studio", "postgres", "redis", *OURS}


def test_every_command_of_the_compose_file_exists(compose: Any) -> None:
    commands = [
        service["command"] for service in compose["services"].values() if "command" in service
    ]
    assert len(commands) == len(OURS)
    assert all(map(_is_a_command, commands))


def test_every_service_has_a_memory_limit_and_a_health_check_of_its_own(compose: Any) -> None:
    checks = {}
    for name, service in compose["services"].items():
        assert re.fullmatch(r"\d+[mg]", service["mem_limit"]), name
        checks[name] = service["healthcheck"]["test"]
    assert len({str(check) for check in checks.values()}) == len(checks)
    for name in OURS - {"backend"}:
        assert _is_a_command(checks[name][1:])


def test_the_dashboard_is_reachable_from_this_machine_only(compose: Any) -> None:
    assert compose["services"]["backend"]["ports"] == ["127.0.0.1:9090:9090"]


def test_the_connect_command_of_its_comment_exists() -> None:
    said = re.search(r"phraseclick connect .*", COMPOSE.read_text())
    assert said
    assert _is_a_command(said[0].split())
    config = said[0].rpartition("--write-config ")[2]
    assert (COMPOSE.parent / f"{config}.xml").is_file()


def test_every_variable_is_in_the_example_and_none_besides(compose: Any) -> None:
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    offered = set(re.findall(r"^(\w+)=", EXAMPLE.read_text(), re.MULTILINE))
    assert asked == offered


def test_every_setting_of_the_backend_exists(compose: Any) -> None:
    for name in OURS:
        for variable in compose["services"][name]["environment"]:
            assert variable.removeprefix("PHRASECLICK_").lower() in Settings.model_fields


def test_label_studio_may_reach_private_addresses_in_both_ways(compose: Any) -> None:
    environment = compose["services"]["label-studio"]["environment"]
    assert environment["ML_BLOCK_LOCAL_IP"] == environment["SSRF_PROTECTION_ENABLED"] == "false"


def test_volumes_targets_and_dependencies_exist(compose: Any) -> None:
    targets = set(re.findall(r" AS ([\w-]+)$", DOCKERFILE, re.MULTILINE))
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
        for needed in service.get("depends_on", {}):
            assert needed in compose["services"]
            assert "healthcheck" in compose["services"][needed]
        if "build" in service:
            assert service["build"]["target"] in targets


def test_the_dockerfile_copies_what_there_is_and_the_build_context_lets_it_through() -> None:
    context = (ROOT / ".dockerignore").read_text()
    sources = [
        source
        for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert list(ROOT.glob(source))
        assert f"!{source}\n" in context or (
            source.startswith("requirements") and "!requirements*\n" in context
        )


def test_the_dockerfile_starts_the_backend() -> None:
    started = re.findall(r'^CMD \["phraseclick", (.+)\]$', DOCKERFILE, re.MULTILINE)
    assert len(started) == 1
    assert _is_a_command(["phraseclick", *re.findall(r'"([^"]+)"', started[0])])


def test_locks_hold_names_versions_and_hashes_alone() -> None:
    for lock in ROOT.glob("requirements*.lock"):
        for line in lock.read_text().splitlines():
            assert re.fullmatch(
                r"[A-Za-z0-9][\w.-]*(\[[\w,-]+\])?==[\w.+!-]+( ; [^:/]+)? \\"
                r"|    --hash=sha256:[0-9a-f]{64}( \\)?",
                line,
            ), f"{lock.name}: {line}"


def test_the_lock_leaves_out_what_is_vulnerable_or_bogus() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    versions = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    assert versions["label-studio-ml"] == "1.0.9"
    assert "attr" not in versions
    for package, least in (("flask", (3, 1)), ("werkzeug", (3, 1)), ("jinja2", (3, 1))):
        assert tuple(map(int, versions[package].split(".")[:2])) >= least
    for package in ("redis", "rq"):
        assert package in versions


def test_images_are_pinned_by_digest(tmp_path: Path, compose: Any) -> None:
    # given a docker that answers with a digest
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho sha256:{"a" * 64}\n')
    docker.chmod(0o755)
    pinned = tmp_path / ".env"
    pinned.write_text("POSTGRES_PASSWORD=p\nREDIS_IMAGE=redis:6\n")
    command = ["make", "pin-images", f"DOCKER={docker}", f"ENV_FILE={pinned}"]
    # when
    for _ in range(2):
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    # then
    digest = f"@sha256:{'a' * 64}"
    assert pinned.read_text().splitlines() == [
        "POSTGRES_PASSWORD=p",
        f"PYTHON_IMAGE=python:3.11-slim-bookworm{digest}",
        f"POSTGRES_IMAGE=postgres:15{digest}",
        f"REDIS_IMAGE=redis:7{digest}",
    ]
    images = {service["image"] for service in compose["services"].values()}
    assert {"${POSTGRES_IMAGE:-postgres:15}", "${REDIS_IMAGE:-redis:7}"} < images
    assert "ARG PYTHON_IMAGE=python:3.11-slim-bookworm\nFROM ${PYTHON_IMAGE} AS base" in DOCKERFILE


def test_what_is_no_digest_is_not_pinned(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\necho no such image\n")
    docker.chmod(0o755)
    command = ["make", "pin-images", f"DOCKER={docker}", f"ENV_FILE={tmp_path}/.env"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert "No digest of python:3.11-slim-bookworm" in done.stdout
    assert not (tmp_path / ".env").exists()
