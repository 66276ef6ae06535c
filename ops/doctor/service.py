"""The service's own processes and what they talk to: workers, beat, callbacks, the provider, Flower, secrets."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import redis
import requests

from jobs.api_keys import KeyRing
from jobs.connections.client import connect
from jobs.connections.errors import translated
from jobs.errors import RECOVER, AccessRefused, RecordDamaged, StoreUnavailable
from jobs.read_models import Totals
from jobs.store.redis_keys import Keys
from jobs.store.store import Store
from jobs.store.stuck import counted
from jobs.store.witness import witness_url
from ops.doctor.check import Finding, bad, ok, refused, warning
from schemas import callback_path
from webhook.settings import Settings as WebhookSettings
from worker.app import create_app
from worker.messages import DELIVER, RECONCILE, SUBMIT
from worker.provider import Held, Provider, Unavailable
from worker.settings import Settings as WorkerSettings
from worker.settings import Switch

#: Seconds that workers have to answer, and that one request may take.
PATIENCE = 3.0
#: Rounds of reconcile come every second; this long without one (seconds) and nobody makes them.
STALE = 15.0
#: A name that no job can have: `~` and a number make an attempt of it that nobody sends.
PROBE = "boomerang-doctor~2"
#: Bits that a secret should have at least, by the frequency of its characters.
FEW_BITS = 80.0


def look_at_workers(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether workers answer and read every queue."""
    if settings.remote_control is Switch.OFF:
        yield ok("workers", "not asked: BOOMERANG_REMOTE_CONTROL is off; rounds of reconcile show that one works")
        return
    app = create_app(settings)
    try:
        inspect = app.control.inspect(timeout=PATIENCE)
        queues = inspect.active_queues() or {}
    except Exception as error:  # noqa: BLE001 - kombu, redis and amqp each have their own
        cause = error if isinstance(error, redis.RedisError) else error.__cause__
        told = translated(cause) if isinstance(cause, redis.RedisError) else error
        if isinstance(told, AccessRefused):
            yield refused("workers", f"the broker refuses to ask them: {told.said}", "BOOMERANG_BROKER_URL")
            return
        yield bad("workers", f"the broker does not answer: {type(error).__name__}", "See BOOMERANG_BROKER_URL.")
        return
    read = {queue["name"] for each in queues.values() for queue in each}
    missing = {SUBMIT, RECONCILE, DELIVER, settings.generate_queue} - read
    if not queues:
        do = "Start one: celery -A worker.main:app worker. It must see the same BOOMERANG_BROKER_URL."
        yield bad("workers", "none answers", do)
    elif missing:
        do = "Start workers without -Q, or name all queues."
        yield bad("workers", f"nobody reads {', '.join(sorted(missing))}", do)
    else:
        yield ok("workers", f"{len(queues)} answer, every queue is read")


def look_at_rounds(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether beat asks for rounds of reconcile and workers make them."""
    client = connect(settings.redis_url, most_connections=2)
    try:
        totals = _first_round(Store(client, settings))
    except RecordDamaged as error:
        yield _damaged("beat", error)
        return
    except StoreUnavailable:
        return  # said already
    finally:
        client.close()
    do = "Start one beat: celery -A worker.main:app beat; and see that a worker answers."
    last = totals.last_round
    age = (datetime.now(UTC) - last).total_seconds() if last else math.inf
    if last is None:
        yield bad("beat", "no round of reconcile was ever made", do)
    elif age > STALE:
        yield bad("beat", f"the last round of reconcile was {age:,.0f} s ago", do)
    else:
        yield ok("beat", "rounds of reconcile are made")
    if settings.recovery and totals.sees_restarts is False:
        do = "Allow the worker's user INFO; else run boomerang-server recover after each restart and failover of Redis."
        yield warning("recovery", "Redis does not tell its run id (INFO): restarts are not noticed", do)


def _first_round(store: Store) -> Totals:
    """The totals, once there was a round: a stack that has just begun makes its first in a moment."""
    end = time.monotonic() + PATIENCE
    while (totals := store.statistics.totals()).last_round is None and time.monotonic() < end:
        time.sleep(0.1)
    return totals


def look_at_installation(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether the jobs' Redis holds the jobs that it should hold."""
    client = connect(settings.redis_url, most_connections=2)
    try:
        refusal = Store(client, settings).continuity.refusal()
    except StoreUnavailable:
        return  # said already
    finally:
        client.close()
    if refusal:
        do = f"Find out why, then run {RECOVER}: it shows what is expected and what is there."
        yield bad("installation", refusal, do)
    elif witness_url(settings) is None:
        do = "Give the broker, or the results (BOOMERANG_RESULT_URL), a Redis of its own."
        yield warning("installation", "no other Redis remembers which jobs there are: only running workers do", do)
    else:
        yield ok("installation", "Redis holds the jobs that it should hold")


def look_at_dead_ends(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether anything does not go on by itself."""
    client = connect(settings.redis_url, most_connections=2)
    try:
        store = Store(client, settings)
        counts = counted(store, store.lanes.get_all())
    except RecordDamaged as error:
        yield _damaged("dead ends", error)
        return
    except StoreUnavailable:
        return  # said already
    finally:
        client.close()
    if stuck := ", ".join(f"{kind} {count}" for kind, count in counts.items() if count):
        yield warning("dead ends", stuck, "boomerang-server stuck lists them, each with the command that settles it.")
    else:
        yield ok("dead ends", "none")


def look_at_callbacks(settings: WebhookSettings) -> Iterator[Finding]:
    """Whether the public address reaches a webhook with our secrets: a real callback, for a job that nobody has."""
    about = "callbacks"
    if not settings.public_url:
        do = "Set BOOMERANG_PUBLIC_URL to where the provider reaches the webhook: results then come at once."
        yield warning(about, "BOOMERANG_PUBLIC_URL is not set: jobs are settled by polling alone", do)
        return
    parts = urlsplit(settings.public_url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        yield warning(about, "BOOMERANG_PUBLIC_URL is not https", "Put TLS in front: a callback's path is its proof.")
    address = settings.public_url.rstrip("/") + callback_path(PROBE, settings.callback_secrets[0])
    try:
        answer = requests.post(address, json={"status": "processing"}, timeout=PATIENCE, allow_redirects=False)
    except requests.RequestException as error:
        do = "Is the webhook running, the name right, the path through proxy and firewall open?"
        yield bad(about, f"BOOMERANG_PUBLIC_URL cannot be reached from here: {type(error).__name__}", do)
        return
    if answer.status_code == requests.codes.no_content:
        yield ok(about, "a callback of our own arrived at BOOMERANG_PUBLIC_URL and was believed")
    elif answer.status_code == requests.codes.forbidden:
        do = "Give webhook and workers the same BOOMERANG_CALLBACK_SECRETS; while changing, both the old and the new."
        yield bad(about, "the webhook there refuses our signature", do)
    else:
        do = "POST /callbacks/… must reach the webhook unchanged: look at the proxy in front of it."
        yield bad(about, f"BOOMERANG_PUBLIC_URL answers {answer.status_code} to a callback", do)


def look_at_provider(settings: WorkerSettings) -> Iterator[Finding]:
    """Whether each lane's account answers, by looking up a task that does not exist: it costs nothing."""
    for lane in settings.lanes:
        about = f"provider, lane {lane.name}"
        if not settings.key_of(lane):
            yield bad(about, f"{lane.key_variable} is not set here", "Workers need it; run this where a worker runs.")
            continue
        provider = Provider(settings, lane)
        try:
            looked = provider.get_status(PROBE, PROBE)
        finally:
            provider.close()
        match looked:
            case Held(reason):
                do = f"401: set a valid {lane.key_variable}; 402: pay; 403: have the key allowed."
                yield bad(about, reason, do)
            case Unavailable(reason):
                yield bad(about, f"gives no answer: {reason}", "Look at BOOMERANG_PROVIDER_URL, DNS, proxy, firewall.")
            case _:
                yield ok(about, "answers, and takes the key")


def look_at_flower(address: str) -> Iterator[Finding]:
    """Whether Flower, where it runs, wants a password."""
    try:
        answer = requests.get(f"{address.rstrip('/')}/workers", timeout=PATIENCE, allow_redirects=False)
    except requests.RequestException:
        yield ok("Flower", f"does not run at {address}")
        return
    if answer.status_code == requests.codes.ok:
        yield bad("Flower", f"{address} is open to everybody", "Start it with FLOWER_BASIC_AUTH=user:password.")
    else:
        yield ok("Flower", f"{address} wants a password")


def look_at_secrets(webhook: WebhookSettings, worker: WorkerSettings) -> Iterator[Finding]:
    """Whether secrets can be guessed. None of them is shown."""
    keys, admins = _secrets_of(webhook.api_keys), _secrets_of(webhook.admin_keys)
    named: dict[str, Sequence[str]] = {
        "BOOMERANG_CALLBACK_SECRETS": webhook.callback_secrets,
        "BOOMERANG_API_KEYS": keys,
        "BOOMERANG_ADMIN_KEYS": admins,
        "BOOMERANG_SESSION_SECRET": [webhook.session_secret] if webhook.session_secret else [],
        "BOOMERANG_METRICS_TOKEN": [webhook.metrics_token] if webhook.metrics_token else [],
    }
    for name, secrets in named.items():
        if weak := sum(bits(secret) < FEW_BITS for secret in secrets):
            do = "Make them with: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            yield bad(name, f"{weak} of {len(secrets)} can be guessed", do)
        elif secrets:
            yield ok(name, f"{len(secrets)}, none easily guessed")
    if shared := {*keys, *admins} & {*webhook.callback_secrets, worker.provider_key}:
        do = "Give each its own: whoever has one must not have the other."
        yield bad("secrets", f"{len(shared)} serve two purposes", do)


def look_at_keys(settings: WebhookSettings) -> Iterator[Finding]:
    """Whether there is a key that opens anything."""
    client = connect(settings.redis_url, most_connections=2)
    try:
        kept = sum(key.opens(datetime.now(UTC)) for key in KeyRing(client, Keys()).all())
    except StoreUnavailable:
        return  # said already
    finally:
        client.close()
    named = len(settings.keys)
    if named or kept:
        yield ok("keys", f"{named} of the environment, {kept} kept beside the jobs")
    else:
        do = "Make one: boomerang-server keys add NAME; or set BOOMERANG_API_KEYS where the webhook runs."
        yield warning("keys", "there are none: every producer is refused", do)


def _damaged(about: str, error: RecordDamaged) -> Finding:
    return bad(about, f"{error.what} is damaged: {error.why}", "boomerang-server audit names what is, and what to do.")


def _secrets_of(keys: Sequence[str]) -> list[str]:
    """The secrets themselves, of those that the environment does not name by a hash."""
    secrets = [key.partition(":")[2] or key for key in keys]
    return [secret for secret in secrets if not secret.startswith("sha256:")]


def bits(secret: str) -> float:
    """Shannon's entropy of its characters, in bits: an upper bound that repetitions and short texts do not reach."""
    counts = Counter(secret)
    return -sum(count * math.log2(count / len(secret)) for count in counts.values())
