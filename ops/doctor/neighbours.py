"""Other Celery applications on the broker's database, by the queues that kombu notes there.

kombu keeps a set of bindings for each exchange; a member names a queue. Which queues this service, its beat, Flower and
its producers make by themselves is known, so that any other queue is another application's.
"""

import redis
from celery import Celery
from kombu.pidbox import Mailbox
from kombu.transport.redis import Channel

from worker.messages import DELIVER, RECONCILE, SUBMIT

_CELERY = Celery("doctor", set_as_current=False)
#: Exchanges of Celery's remote control and events, which every application uses under the same names.
_SHARED = frozenset(
    {
        Mailbox.exchange_fmt % _CELERY.conf.control_exchange,
        Mailbox.reply_exchange_fmt % _CELERY.conf.control_exchange,
        _CELERY.conf.event_exchange,
    }
)


def neighbours(client: redis.Redis, generate_queue: str) -> list[str]:
    """Queues that are not ours, as they are bound; those of applications with a key prefix of their own, too."""
    ours = {generate_queue, SUBMIT, RECONCILE, DELIVER}
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
