"""Kombu's transports for Redis, whose channels survive a lost connection.

When a connection is lost, kombu removes the client from the transport and then closes the
remaining channels. A channel with an unacknowledged message asks the removed client for its host:
with kombu 5.7.0 an AttributeError, which ends a Celery worker. Here it is a connection error, after
which the worker connects again.
"""

from typing import Any

from kombu.transport import redis
from redis.exceptions import ConnectionError as RedisConnectionError


class _ClosesInOrder:
    """Mixed into a channel of kombu's Redis transports."""

    connection: Any

    def _connparams(self, *arguments: Any, **options: Any) -> Any:
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("The connection to the broker was lost.")
        return super()._connparams(*arguments, **options)  # type: ignore[misc]


class _RedisChannel(_ClosesInOrder, redis.Channel):  # type: ignore[misc]
    pass


class _SentinelChannel(_ClosesInOrder, redis.SentinelChannel):  # type: ignore[misc]
    pass


class RedisTransport(redis.Transport):  # type: ignore[misc]
    """``redis://`` and ``rediss://`` for kombu and Celery."""

    Channel = _RedisChannel


class SentinelTransport(redis.SentinelTransport):  # type: ignore[misc]
    """``sentinel://`` for kombu and Celery."""

    Channel = _SentinelChannel
