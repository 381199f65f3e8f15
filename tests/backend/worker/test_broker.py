"""The broker of files, also when they are empty or damaged, and a Redis that is gone."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Queue

from backend.errors import BrokerError
from backend.settings import Settings
from backend.worker import broker
from tests.backend.jobs.brokers import Redis, redis_server

__all__ = ["redis_server"]


def file_broker(folder: Path) -> Connection:
    options = broker.file_connection(folder)
    return Connection(options["broker_url"], transport_options=options["broker_transport_options"])


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with file_broker(tmp_path / "queue") as opened:
        yield opened


def declared(connection: Connection, tmp_path: Path) -> broker.Queue:
    (queue, _) = broker.queues(Settings(data=tmp_path))
    queue(connection.default_channel).declare()
    return queue


def send(connection: Connection, queue: broker.Queue, text: str) -> None:
    with connection.Producer() as producer:
        producer.publish(text, exchange=queue.exchange, routing_key=queue.routing_key)


def receive(connection: Connection, queue: broker.Queue) -> list[str]:
    messages: list[str] = []
    channel = connection.default_channel
    while (message := channel.basic_get(queue.name)) is not None:
        messages.append(message.decode())
        message.ack()
    return messages


def test_messages_pass_through_the_folder_in_order(connection: Connection, tmp_path: Path) -> None:
    queue = declared(connection, tmp_path)
    for number in range(5):
        send(connection, queue, str(number))
        time.sleep(0.01)  # names sort by milliseconds

    assert receive(connection, queue) == ["0", "1", "2", "3", "4"]
    assert list((tmp_path / "queue" / "messages").iterdir()) == []


def test_a_reader_never_sees_half_a_message(tmp_path: Path) -> None:
    """Kombu's own transport fails here within a second."""
    jobs = Queue("jobs", Exchange("jobs"), routing_key="jobs")
    errors: list[BaseException] = []
    received: list[int] = []
    deadline = time.monotonic() + 200

    def send() -> None:
        try:
            with file_broker(tmp_path / "queue") as connection:
                queue = connection.SimpleQueue(jobs)
                for number in range(40):
                    queue.put({"number": number, "padding": "x" * 20_000})
        except BaseException as error:
            errors.append(error)

    def receive() -> None:
        try:
            with file_broker(tmp_path / "queue") as connection:
                queue = connection.SimpleQueue(jobs)
                while len(received) < 120 and time.monotonic() < deadline:
                    try:
                        message = queue.get(timeout=1)
                    except queue.Empty:
                        continue
                    message.ack()
                    received.append(message.payload["number"])
        except BaseException as error:
            errors.append(error)

    # when
    threads = [threading.Thread(target=send) for _ in range(3)]
    threads += [threading.Thread(target=receive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then
    assert errors == []
    assert sorted(received) == sorted(list(range(40)) * 3)


@pytest.mark.parametrize("url", ["http://host", "no-such-thing://host", "host"])
def test_a_broker_of_an_unknown_kind_is_one_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="PHRASECLICK_BROKER_URL"):
        broker.connection(Settings(data=tmp_path, broker_url=url))


@pytest.mark.parametrize("damage", ["", "{", "null", "[1]"])
def test_a_damaged_message_is_dropped_and_the_next_one_comes(
    connection: Connection, tmp_path: Path, damage: str
) -> None:
    queue = declared(connection, tmp_path)
    send(connection, queue, "first")
    time.sleep(0.01)  # names sort by milliseconds
    send(connection, queue, "second")
    # given
    oldest = min((tmp_path / "queue" / "messages").iterdir())
    oldest.write_text(damage)
    # then
    assert receive(connection, queue) == ["second"]
    assert list((tmp_path / "queue" / "messages").iterdir()) == []


def test_a_folder_that_was_emptied_needs_no_new_declaration(
    connection: Connection, tmp_path: Path
) -> None:
    queue = declared(connection, tmp_path)
    shutil.rmtree(tmp_path / "queue")

    broker.file_connection(tmp_path / "queue")
    send(connection, queue, "first")

    assert receive(connection, queue) == ["first"]


def test_messages_are_for_the_owner_alone(connection: Connection, tmp_path: Path) -> None:
    send(connection, declared(connection, tmp_path), "first")

    for path in (tmp_path / "queue").rglob("*.msg"):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "queue" / "messages").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_channel_whose_connection_was_lost_closes_with_a_connection_error(
    redis_server: Redis, tmp_path: Path
) -> None:
    """Kombu's own channel raises AttributeError, which ends a Celery worker."""
    with Connection(redis_server.url) as connection:
        # given: a message that was not acknowledged yet
        queue = declared(connection, tmp_path)
        send(connection, queue, "first")
        channel = connection.default_channel
        message = channel.basic_get(queue.name)
        # when: the transport loses its client, and with it its address
        connection.transport.client = None
        channel._pool = None
        # then
        with pytest.raises(connection.connection_errors):
            message.ack()
        with pytest.raises(connection.connection_errors):
            channel.close()
