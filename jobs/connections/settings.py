"""The settings of the servers: the Redis of the jobs, Celery's broker, and Celery's results."""

from dataclasses import dataclass

from marshmallow import fields as ma
from marshmallow import validate

from jobs.connections.urls import BROKER_SCHEMES, REDIS_SCHEMES, RESULT_SCHEMES, url_of
from jobs.setting import setting

LOCAL_REDIS = "redis://127.0.0.1:6379/0"


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """The URLs of the servers, and what a write must reach."""

    redis_url: str = setting(
        "BOOMERANG_REDIS_URL",
        ma.String,
        LOCAL_REDIS,
        "The Redis that holds the jobs: `redis://`, `rediss://`, `unix://`, or `sentinel://` behind "
        "[Sentinel](#sentinel). The jobs are in it and nowhere else; see [set up Redis](guides/set-up-redis.md).",
        secret=True,
        validate=url_of(*REDIS_SCHEMES),
    )
    broker_url: str = setting(
        "BOOMERANG_BROKER_URL",
        ma.String,
        "",
        "Celery's broker: Redis, also behind [Sentinel](#sentinel), or [RabbitMQ](guides/celery.md#rabbitmq) "
        "(`amqp://`). Unset: the jobs' Redis. With a separate server, a growing queue cannot fill the memory of the "
        "jobs.",
        secret=True,
        validate=url_of(*BROKER_SCHEMES),
    )
    result_url: str = setting(
        "BOOMERANG_RESULT_URL",
        ma.String,
        "",
        "The Redis to which the worker writes the results of Celery producers. Unset: the jobs' Redis.",
        secret=True,
        validate=url_of(*RESULT_SCHEMES),
    )
    replicas: int = setting(
        "BOOMERANG_REPLICAS",
        ma.Integer,
        0,
        "How many replicas of the jobs' Redis must have an accepted job before the producer gets its response, and a "
        "claimed job before it is sent. With fewer, the response is 503 and the claim is given up. With 1, a "
        "[failover](guides/redis-failover.md) loses neither.",
        validate=validate.Range(min=0),
    )

    def __post_init__(self) -> None:
        """Use the jobs' Redis as broker and result store unless they have other URLs."""
        object.__setattr__(self, "broker_url", self.broker_url or for_celery(self.redis_url))
        object.__setattr__(self, "result_url", self.result_url or for_celery(self.redis_url))


def for_celery(redis_url: str) -> str:
    """Return the URL of a Redis as kombu writes it: redis-py's `unix://` is kombu's `redis+socket://`."""
    return redis_url.replace("unix://", "redis+socket://", 1).replace("?db=", "?virtual_host=", 1)
