"""The message broker: two queues, and a broker of files for installations without a server.

A message is acknowledged after its task has run, so the task of a worker that died goes to another
one. Brokers decide by time that a worker died, and a training takes long. So one setting, the
longest time of a job, sets that limit in each broker's own way.

Kombu has a transport of files too, but its readers may see half of a message, and fail. Here files
are written under another name and renamed, and a worker takes a message by renaming it. A power cut
may still leave an empty file, and a full disk a damaged one: such a message is dropped, which is
harmless, because the workers also look into the database by themselves.
"""

import logging
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu import Exchange, Queue
from kombu.transport import TRANSPORT_ALIASES, filesystem, get_transport_cls
from kombu.utils.json import dumps, loads

from backend.errors import BrokerError
from backend.settings import Settings
from model.files import atomic_write, private_folder

_log = logging.getLogger(__name__)

# Short tasks that clicks depend on.
SUPPORT_QUEUE = "interactive-support"
# Trainings and other jobs. Scoring takes up to an hour: it must not delay new samples, nor compute
# beside a training on two cores that also serve clicks.
TRAINING_QUEUE = "training"

# Added to the longest job: time to write its outcome while the database is down.
_MARGIN_S = 3600.0
_WITH_VISIBILITY_TIMEOUT = ("redis", "rediss", "sentinel", "valkey", "valkeys", "sqs")

_FILE_SCHEME = "phraseclick-files"
# By name, so that only an installation with Redis imports its client.
TRANSPORT_ALIASES.update(
    {
        _FILE_SCHEME: f"{__name__}:FileTransport",
        "redis": "backend.worker.redis_broker:RedisTransport",
        "rediss": "backend.worker.redis_broker:RedisTransport",
        "sentinel": "backend.worker.redis_broker:SentinelTransport",
    }
)


def redelivery_s(settings: Settings) -> int:
    """Seconds after which an unacknowledged message goes to another worker."""
    return int(settings.longest_job_hours * 3600 + _MARGIN_S)


def queues(settings: Settings) -> list[Queue]:
    """Both queues. Only RabbitMQ reads the argument, from 3.12 on."""
    arguments = {"x-consumer-timeout": redelivery_s(settings) * 1000}
    return [
        Queue(name, Exchange(name), routing_key=name, queue_arguments=arguments)
        for name in (SUPPORT_QUEUE, TRAINING_QUEUE)
    ]


def connection(settings: Settings) -> dict[str, Any]:
    if not settings.broker_url:
        return {
            **file_connection(settings.data / "queue"),
            # Nothing sends control messages, and they would keep the files busy.
            "worker_enable_remote_control": False,
        }
    scheme = settings.broker_url.partition(":")[0].partition("+")[0]
    try:
        get_transport_cls(scheme)
    except (KeyError, ImportError):
        raise BrokerError(
            f"There is no broker of the kind {scheme}: here. PHRASECLICK_BROKER_URL begins with "
            "redis:// or amqp://; for others, Celery's documentation names what to install."
        ) from None
    by_visibility = scheme in _WITH_VISIBILITY_TIMEOUT
    options = {"visibility_timeout": redelivery_s(settings)} if by_visibility else {}
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": options,
        # While a job runs, the worker reads nothing else from Redis. By listening for control
        # messages it notices a broken connection, without which it could never acknowledge.
        "worker_enable_remote_control": by_visibility,
    }


def file_connection(folder: Path) -> dict[str, Any]:
    """Celery's settings for a broker of files in this folder, which is created if missing."""
    for name in ("messages", "taken"):
        private_folder(folder / name)
    return {
        "broker_url": f"{_FILE_SCHEME}://localhost",
        "broker_transport_options": {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            # On the same disk, so that a message is taken by a plain rename.
            "processed_folder": str(folder / "taken"),
            # Seconds between two reads of the folder.
            "polling_interval": 0.25,
        },
    }


class _FileChannel(filesystem.Channel):  # type: ignore[misc]
    """Kombu's, with atomic writes."""

    def _put(self, queue: str, payload: object, **options: object) -> None:
        # Read in the order of names. Unlike kombu's clock, this one continues after a reboot.
        name = f"{time.time_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        atomic_write(Path(self.data_folder_out) / name, dumps(payload), private=True, durable=False)

    def _get(self, queue: str) -> Any:
        for message in sorted(Path(self.data_folder_in).glob(f"*.{queue}.msg")):
            if message.name.partition(".")[2] != f"{queue}.msg":
                continue  # of a queue whose name ends with this one's
            taken = Path(self.processed_folder) / message.name
            try:
                os.rename(message, taken)
            except FileNotFoundError:
                continue  # another worker was faster
            try:
                payload = loads(taken.read_text(encoding="utf-8"))
            except ValueError as error:
                _log.error("A message of the queue cannot be read and is dropped: %s", error)
                payload = None
            taken.unlink()
            if isinstance(payload, dict):
                return payload
        raise Empty

    def get_table(self, exchange: str) -> list[Any]:
        """The queues of an exchange: one of the same name (see ``queues``). So no file with a table
        of them can be damaged or missing."""
        return [filesystem.exchange_queue_t(exchange, "", exchange)]

    def _queue_bind(self, *_: str) -> None:
        """Nothing to write: see ``get_table``."""


class FileTransport(filesystem.Transport):  # type: ignore[misc]
    """``phraseclick-files://`` for kombu and Celery."""

    Channel = _FileChannel
