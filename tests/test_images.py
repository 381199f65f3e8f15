"""The images of the Dockerfile: built, started, and checked as compose.yaml checks them.

Takes ten minutes and some gigabytes of disk, outside the working tree and deleted at the end.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from backend.worker.child_process import free_port
from tests.buildah import ROOT, Buildah, Container, size_of, what_is_missing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing() or "can be built"),
]

COMPOSE = yaml.safe_load((ROOT / "plugin_config" / "compose.yaml").read_text())
CONFIG = (ROOT / "plugin_config" / "click_and_phrase.xml").read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Both images."""
    buildah = Buildah(tmp_path_factory.mktemp("images"))
    try:
        buildah.base()
        for target in ("backend", "label-studio"):
            buildah.build(target)
        yield buildah
    finally:
        buildah.delete()


@contextmanager
def running(
    container: Container, command: list[str], log: Path, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """A command in a container, ended with all that it started."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            container.arguments(*command, **options),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(true: Callable[[], bool], log: Path, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except httpx.HTTPError:
            pass
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.5)


def healthy(container: Container, service: str, port: int, **options: Any) -> bool:
    """Whether the service's health check of compose.yaml passes inside the container."""
    check = [
        part.replace("9090", str(port))
        for part in COMPOSE["services"][service]["healthcheck"]["test"]
    ]
    done = subprocess.run(container.arguments(*check[1:], **options), capture_output=True)
    return done.returncode == 0


def folder(path: Path) -> Path:
    """A data folder that the image's user may write, as a named volume is."""
    path.mkdir()
    os.chown(path, 1001, 1001)
    return path


def test_a_worker_takes_a_job_in_its_image(images: Buildah, tmp_path: Path) -> None:
    # given server and training worker in containers that share a data folder
    data, port = folder(tmp_path / "data"), free_port()
    environment: Mapping[str, str] = {"PHRASECLICK_TORCH_THREADS": "1"}
    options = {"environment": environment, "data": data}
    http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
    logs = {name: tmp_path / f"{name}.log" for name in ("server", "worker", "support")}
    with images.container("backend") as container:
        assert container.config()["User"] == "app"
        serve = ["phraseclick", "serve", f"--port={port}"]
        train = COMPOSE["services"]["training-worker"]["command"]
        support = COMPOSE["services"]["worker"]["command"]
        with (
            running(container, serve, logs["server"], **options),
            running(container, train, logs["worker"], **options),
            running(container, support, logs["support"], **options),
        ):
            # when a project connects and asks for a training
            until(lambda: http.get("/health").json()["status"] == "UP", logs["server"])
            setup = {"project": "1.1", "schema": CONFIG, "hostname": "http://127.0.0.1:9"}
            assert http.post("/setup", json=setup).status_code == 200
            job = http.post("/api/jobs", json={"project": 1, "kind": "training"}).json()["id"]
            # then the worker runs it, and each program is healthy by its own check
            until(
                lambda: http.get(f"/api/jobs/{job}").json()["state"] in ("done", "failed"),
                logs["worker"],
            )
            details = http.get(f"/api/jobs/{job}").json()
            assert details["started_at"], details
            for service in ("backend", "worker", "training-worker"):
                assert healthy(container, service, port, **options), service
            assert not healthy(container, "scheduler", port, **options), "none runs"


def test_label_studio_starts_in_its_image(images: Buildah, tmp_path: Path) -> None:
    data, port, log = folder(tmp_path / "data"), free_port(), tmp_path / "log"
    with images.container("label-studio") as container:
        command = [*container.config()["Cmd"][:-1], str(port)]
        environment = {"LABEL_STUDIO_BASE_DATA_DIR": "/data", "HOME": "/data"}
        with running(container, command, log, environment=environment, data=data):
            until(
                lambda: httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200,
                log,
                900,
            )


def test_the_backends_image_is_as_large_as_its_packages(images: Buildah) -> None:
    with images.container("backend") as container:
        root = container.path()
        (packages,) = root.glob("usr/local/lib/python3*/*-packages")
        sizes = {path.name: size_of(path) for path in packages.iterdir()}
        largest = sorted(sizes, key=lambda name: -sizes[name])[:6]
        print(", ".join(f"{name} {sizes[name] / 1e6:,.0f} MB" for name in largest))
        # buildah leaves an empty file where the configuration was mounted.
        pip = root / "etc/pip.conf"
        assert not pip.exists() or not pip.read_bytes(), "pip's configuration of this machine"
        assert not list((root / "root").glob(".cache/pip/*"))
        # torch's CPU build takes 700 MB; the CUDA builds would take some gigabytes.
        assert sum(sizes.values()) < 3e9
