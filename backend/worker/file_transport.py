"""The embedded broker: a queue of files in the data folder, so that no server must be installed.

Kombu's own file transport lets a reader see a message, or its table of queues, half written: the
worker then dies on it. Here both are written aside and renamed, so that a file is whole or absent,
and a message is taken by whoever renames it first.
"""

import fcntl
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.transport.virtual import BrokerState
from kombu.utils.json import dumps, loads

from model.files import atomic_write

SCHEME = "phraseclick-files"
TRANSPORT_ALIASES[SCHEME] = "backend.worker.file_transport:Transport"


def transport_options(folder: Path) -> dict[str, Any]:
    """Kombu's options for a queue in this folder, which is made where it is missing."""
    for name in ("messages", "taken", "queues"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        # Taken messages pass through here: on the same disk, so that taking is a plain rename.
        "processed_folder": str(folder / "taken"),
        "control_folder": str(folder / "queues"),
        "store_processed": False,
        # Seconds between two looks into the folder.
        "polling_interval": 0.25,
    }


class Channel(filesystem.Channel):  # type: ignore[misc]
    """Kombu's, with whole files."""

    def _put(self, queue: str, payload: object, **options: object) -> None:
        folder = Path(self.data_folder_out)
        # Read in the order of names. The wall clock, unlike kombu's, goes on over a reboot.
        name = f"{time.time_ns() // 1_000_000}_{uuid.uuid4()}.{queue}.msg"
        atomic_write(folder / name, dumps(payload), durable=False)

    def _get(self, queue: str) -> Any:
        taken = Path(self.processed_folder)
        for message in sorted(Path(self.data_folder_in).glob(f"*.{queue}.msg")):
            if message.name.partition(".")[2] != f"{queue}.msg":
                continue  # of a queue whose name ends alike
            mine = taken / message.name
            try:
                os.rename(message, mine)
            except FileNotFoundError:
                continue  # another worker was quicker
            payload = loads(mine.read_text(encoding="utf-8"))
            mine.unlink()
            return payload
        raise Empty

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        table_file = self._exchange_file(exchange)
        entry = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with (Path(self.control_folder) / "lock").open("ab") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            table = self.get_table(exchange)
            if entry not in table:
                atomic_write(table_file, dumps([entry, *table]), durable=False)


class Transport(filesystem.Transport):  # type: ignore[misc]
    """``phraseclick-files://`` for kombu and Celery."""

    Channel = Channel

    def __init__(self, client: Any, **options: Any) -> None:
        super().__init__(client, **options)
        # Kombu remembers for the whole process which queues are declared, whatever their folder:
        # in a second folder, or in one that was emptied, messages would go nowhere.
        self.state = BrokerState()
