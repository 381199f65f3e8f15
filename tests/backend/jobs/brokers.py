"""Real brokers for tests, on free ports and in their own folders."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kombu import Connection

from backend.worker.child_process import Child, free_port


class Redis:
    """A redis-server that can be killed and started again at the same port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed; on Debian: apt-get install redis-server"
        # Not persistent: killing it loses every message.
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([program, *arguments], stdout=log, cwd=self._folder)

    def waiting(self, queue: str) -> int:
        """Messages that no worker has taken."""
        with Connection(self.url) as connection:
            return int(connection.default_channel.client.llen(queue))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    server = Redis(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def rabbitmq() -> Iterator[str]:
    """The URL of a RabbitMQ with its own node name, cookie and port mapper."""
    # Debian's start script would switch to another user and other folders.
    programs = [Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), shutil.which("rabbitmq-server")]
    program = next((str(path) for path in programs if path and Path(path).is_file()), None)
    assert program, "RabbitMQ is not installed; on Debian: apt-get install rabbitmq-server"
    home = Path(tempfile.mkdtemp(prefix="phraseclick-rabbitmq-"))
    port, mapper = free_port(), free_port()
    environment = {
        **os.environ,
        "HOME": str(home),
        "ERL_EPMD_PORT": str(mapper),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": f"tests{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "log"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        "RABBITMQ_CONFIG_FILE": str(home / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "none.config"),
        "RABBITMQ_CONF_ENV_FILE": str(home / "none.env"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
    }
    url = f"amqp://guest:guest@127.0.0.1:{port}//"

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                pass
            with Connection(url, connect_timeout=2) as connection:
                connection.ensure_connection(max_retries=1)
        except Exception:
            return False
        return True

    try:
        with Child("RabbitMQ", [program], log=home / "output", environment=environment) as child:
            child.wait_until(answers, seconds=180, progress=lambda _: None, doing="starting")
            yield url
    finally:
        epmd = shutil.which("epmd")
        if epmd:
            stop = [epmd, "-port", str(mapper), "-kill"]
            subprocess.run(stop, env=environment, capture_output=True, check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server
