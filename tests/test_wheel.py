"""The wheel works in a clean environment, with the dependencies of the tests and nothing else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from backend.worker.child_process import Child, free_port

ROOT = Path(__file__).parents[1]
PACKAGES = ("backend", "model", "training", "plugin_config")
# Documents for readers of the repository, and an admin's passwords.
NOT_SHIPPED = (".env", "ADMINS.md", "ENGINEERS.md", "RUNS.md", "simulate.png")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a wheel is built from: a build leaves files beside its source."""
    copy = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "plugin_config" / ".env").write_text("POSTGRES_PASSWORD=secret\n")
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; it finds the dependencies in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", "--no-compile", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Packages are importable, but .pth files there, such as this checkout's, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def server(environment: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    port = free_port()
    command = [str(environment / "bin" / "phraseclick"), "serve", f"--port={port}"]
    log = tmp_path / "server.log"
    settings = {**clean(), "PHRASECLICK_DATA": str(tmp_path / "data")}
    with (
        Child("The server", command, log=log, environment=settings) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        child.wait_until(
            lambda: answers(client), seconds=120, progress=print, doing="The server starts"
        )
        yield client


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.TransportError:
        time.sleep(0.1)
        return False


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, env=clean(), check=False
    )
    assert done.returncode == 0, done.stderr


def clean() -> dict[str, str]:
    """The environment without paths to this checkout."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PHRASECLICK_"))
    }


def test_the_wheel_contains_every_file_that_the_program_reads(source: Path, wheel: Path) -> None:
    # given
    files = [path for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()]
    expected = {str(path.relative_to(source)) for path in files if path.name not in NOT_SHIPPED}
    # when
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    # then
    assert packed == expected


def test_help_runs_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    program = environment / "bin" / "phraseclick"
    where = "import backend.cli.main as main; print(main.__file__)"

    shown = subprocess.run(
        [program, "--help"], cwd=tmp_path, env=clean(), capture_output=True, text=True, check=True
    )
    location = subprocess.run(
        [environment / "bin" / "python", "-c", where],
        cwd=tmp_path,
        env=clean(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Click and phrase segmentation for Label Studio." in shown.stdout
    assert Path(location.stdout.strip()).is_relative_to(environment)


def test_a_server_answers_with_the_shipped_model(server: httpx.Client) -> None:
    health = server.get("/health")

    assert health.json()["model_loaded"] is True
    for page in ("/dashboard", "/docs", "/metrics"):
        assert server.get(page, follow_redirects=True).status_code == 200, page
