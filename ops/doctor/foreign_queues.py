"""Find other Celery applications in the broker's database, by their queues.

kombu keeps a set of bindings per exchange; each member names a queue. The queues of this service, Flower and its
producers are known, so any other queue belongs to another application.
"""

import redis
from celery import Celery
from kombu.pidbox import Mailbox
from kombu.transport.redis import Channel

from jobs.task_names import DELIVER, RECONCILE, SAVE, SUBMIT

_CELERY = Celery("doctor", set_as_current=False)
#: Exchanges of Celery's remote control and events. They have the same names in every application.
_SHARED = frozenset(
    {
        Mailbox.exchange_fmt % _CELERY.conf.control_exchange,
        Mailbox.reply_exchange_fmt % _CELERY.conf.control_exchange,
        _CELERY.conf.event_exchange,
    }
)


def foreign_queues(client: redis.Redis, generate_queue: str) -> list[str]:
    """Return bound queues of other applications, with the key prefix if the application uses one."""
    ours = {generate_queue, SUBMIT, RECONCILE, DELIVER, SAVE}
    start = Channel.keyprefix_queue % ""
    found: set[str] = set()
    for key in client.scan_iter(match=f"*{start}*", count=1000):
        prefix, _, exchange = str(key).partition(start)
        if prefix == "" and exchange in _SHARED:
            continue
        members = client.smembers(key) if client.type(key) == "set" else ()
        queues = {str(member).rpartition(Channel.sep)[2] for member in members}
        found |= {prefix + queue for queue in queues if prefix or queue not in ours}
    return sorted(found)
