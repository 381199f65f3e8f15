"""Brokers at their worst: files that are empty or damaged, a Redis that is gone."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection

from backend.settings import Settings
from backend.worker import broker
from tests.backend.jobs.brokers import Redis, redis_server

__all__ = ["redis_server"]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    options = broker.file_connection(tmp_path / "queue")
    with Connection(
        options["broker_url"], transport_options=options["broker_transport_options"]
    ) as opened:
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


@pytest.mark.parametrize("damage", ["", "{", "[[1]]"])
def test_a_damaged_table_of_queues_loses_no_message(
    connection: Connection, tmp_path: Path, damage: str
) -> None:
    queue = declared(connection, tmp_path)
    # given
    (table,) = (tmp_path / "queue" / "queues").glob("*.exchange")
    table.write_text(damage)
    # when
    send(connection, queue, "first")
    # then
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
