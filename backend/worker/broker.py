"""The broker, whichever it is: queues, and how long a message may be in a worker's hands.

A message is acknowledged when its work is done, so a worker that dies gives it to the next. Brokers
take a worker for dead by time, and a training takes long: the time is set in each broker's own way,
longer than any job may take, and from one setting.
"""

from typing import Any

from kombu import Exchange, Queue

from backend.settings import Settings
from backend.worker import file_transport

# What must be done soon, for clicks depend on it.
SUPPORT_QUEUE = "interactive-support"
# What takes long. Re-scorings, too: an hour of them must not hold up samples, and must not compute
# beside a training either, where two cores also serve clicks.
TRAINING_QUEUE = "training"

# After the longest job: to write its end down where the database is away.
_SPARE_S = 3600.0
_BY_VISIBILITY = ("redis", "rediss", "sentinel", "valkey", "valkeys", "sqs")


def held_s(settings: Settings) -> int:
    """Seconds that a message may be in a worker's hands before it is given to another."""
    return int(settings.longest_job_hours * 3600 + _SPARE_S)


def queues(settings: Settings) -> list[Queue]:
    """Both queues. The argument is RabbitMQ's (3.12 and later read it), others pass it over."""
    milliseconds = held_s(settings) * 1000
    return [
        Queue(
            name,
            Exchange(name),
            routing_key=name,
            queue_arguments={"x-consumer-timeout": milliseconds},
        )
        for name in (SUPPORT_QUEUE, TRAINING_QUEUE)
    ]


def connection(settings: Settings) -> dict[str, Any]:
    """Celery's settings of where the broker is and how it is spoken to."""
    if not settings.broker_url:
        return {
            "broker_url": f"{file_transport.SCHEME}://localhost",
            "broker_transport_options": file_transport.transport_options(settings.data / "queue"),
            # Control messages would keep the file queue busy, and nobody sends any.
            "worker_enable_remote_control": False,
        }
    found: dict[str, Any] = {"broker_url": settings.broker_url}
    by_visibility = settings.broker_url.partition(":")[0].partition("+")[0] in _BY_VISIBILITY
    if by_visibility:
        found["broker_transport_options"] = {"visibility_timeout": held_s(settings)}
    # Nobody sends control messages there either. But a worker that has its job asks Redis for
    # nothing else: only by listening for them does it notice that the connection broke. Otherwise
    # it could not say that the message is done, and would wait for ever for being allowed another.
    found["worker_enable_remote_control"] = by_visibility
    return found
