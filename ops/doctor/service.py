"""Check the processes of the service and what they need: workers, beat, callbacks, provider, Flower, keys, secrets."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from urllib.parse import urlsplit

import redis
import requests

from jobs.api_keys import KeyRing
from jobs.connections.errors import translated
from jobs.errors import RECOVER, AccessRefused, RecordDamaged, StoreUnavailable
from jobs.liveness import Pulse, TroubleCode, find_troubles
from jobs.store.store import Store
from jobs.store.stuck import counted
from jobs.store.witness import witness_url
from jobs.task_names import DELIVER, RECONCILE, SAVE, SUBMIT
from ops.commands.store import RULES, open_store
from ops.doctor.check import Finding, bad, ok, refused, warning
from schemas import callback_path
from webhook.settings import Settings as WebhookSettings
from worker.app import ask_only, create_app
from worker.provider import Held, Provider, Unavailable
from worker.settings import Settings as WorkerSettings
from worker.settings import Switch

#: Seconds to wait for workers, and for a response.
PATIENCE = 3.0
#: An id that no job can have, because `~` marks a further attempt.
PROBE = "boomerang-doctor~2"
#: The least entropy that a secret should have, in bits, by the frequency of its characters.
FEW_BITS = 80.0


def check_workers(settings: WorkerSettings) -> Iterator[Finding]:
    """Check that workers answer and read every queue."""
    if settings.remote_control is Switch.OFF:
        yield ok("workers", "not asked, because BOOMERANG_REMOTE_CONTROL is off; see beat")
        return
    app = create_app(settings)
    try:
        ask_only(app)
        inspect = app.control.inspect(timeout=PATIENCE)
        queues = inspect.active_queues() or {}
    except Exception as error:  # noqa: BLE001 - kombu, redis and amqp each raise their own
        cause = error if isinstance(error, redis.RedisError) else error.__cause__
        known = translated(cause) if isinstance(cause, redis.RedisError) else error
        if isinstance(known, AccessRefused):
            yield refused("workers", f"the broker refuses the question: {known.reply}", "BOOMERANG_BROKER_URL")
            return
        yield bad(
            "workers",
            f"the broker does not answer: {type(error).__name__}",
            "Start it, or correct BOOMERANG_BROKER_URL.",
        )
        return
    read = {queue["name"] for each in queues.values() for queue in each}
    needed = {SUBMIT, RECONCILE, DELIVER, settings.generate_queue, *([SAVE] if settings.result_store else [])}
    missing = needed - read
    if not queues:
        remedy = "Start one with the same BOOMERANG_BROKER_URL: celery -A worker.main:app worker"
        yield bad("workers", "none answers", remedy)
    elif missing:
        remedy = f"Start a worker that does: without the options -Q and -X, or with -Q {','.join(sorted(missing))}."
        yield bad("workers", f"no worker reads {', '.join(sorted(missing))}", remedy)
    else:
        yield ok("workers", f"{len(queues)} running; every queue is read")


def check_rounds(settings: WorkerSettings) -> Iterator[Finding]:
    """Check that beat requests rounds of reconcile and workers run them."""
    try:
        with open_store(settings) as store:
            pulse, totals = _first_round(store), store.statistics.totals()
    except RecordDamaged as error:
        yield _damaged("rounds", error)
        return
    except StoreUnavailable:
        return  # reported already
    troubles = [trouble for trouble in find_troubles(pulse) if trouble.code is not TroubleCode.REFUSED]
    for trouble in troubles:
        yield bad("rounds", trouble.what, trouble.do)
    if pulse.round_age is None:
        remedy = "Start one beat: celery -A worker.main:app beat; and check that a worker runs."
        yield bad("rounds", "no round of reconcile has run yet", remedy)
    elif not troubles:
        yield ok("rounds", f"the last round of reconcile began {pulse.round_age:.1f} s ago")
    if settings.recovery and totals.sees_restarts is False:
        remedy = (
            "Give the worker's user the right to INFO, or run boomerang-server recover after each restart of Redis."
        )
        yield warning("recovery", "restarts of Redis are not noticed, because INFO does not show its run id", remedy)


def _first_round(store: Store) -> Pulse:
    """Return the signs of life after the first round; a stack that has just started needs a moment for it."""
    end = time.monotonic() + PATIENCE
    while (pulse := store.liveness.pulse()).round_at is None and time.monotonic() < end:
        time.sleep(0.1)
    return pulse


def check_installation(settings: WorkerSettings) -> Iterator[Finding]:
    """Check that the jobs' Redis holds the jobs that it should hold."""
    try:
        with open_store(settings) as store:
            refusal = store.continuity.refusal()
    except StoreUnavailable:
        return  # reported already
    if refusal:
        remedy = f"Find the reason, then run {RECOVER}, which shows what is expected and what Redis holds."
        yield bad("installation", refusal, remedy)
    elif witness_url(settings) is None:
        remedy = "Use another Redis for the broker or for the results (BOOMERANG_RESULT_URL)."
        yield warning(
            "installation", "only running workers know which jobs exist, because no other Redis keeps a witness", remedy
        )
    else:
        yield ok("installation", "Redis holds the expected jobs")


def check_stuck(settings: WorkerSettings) -> Iterator[Finding]:
    """Check that nothing is stuck."""
    try:
        with open_store(settings) as store:
            counts = counted(store, store.lanes.get_all())
    except RecordDamaged as error:
        yield _damaged("stuck", error)
        return
    except StoreUnavailable:
        return  # reported already
    if stuck := ", ".join(f"{kind} {count}" for kind, count in counts.items() if count):
        yield warning(
            "stuck", stuck, "Run boomerang-server stuck, which lists them with the command that settles each."
        )
    else:
        yield ok("stuck", "nothing")


def check_callbacks(settings: WebhookSettings) -> Iterator[Finding]:
    """Check that the public address leads to a webhook with our secrets, by a callback for a job that cannot exist."""
    subject = "callbacks"
    if not settings.public_url:
        remedy = "Set BOOMERANG_PUBLIC_URL to the address at which the provider reaches the webhook."
        yield warning(subject, "BOOMERANG_PUBLIC_URL is not set, so results are found by polling only", remedy)
        return
    parts = urlsplit(settings.public_url)
    if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        yield warning(
            subject, "BOOMERANG_PUBLIC_URL is not https", "Use https: the path of a callback contains its token."
        )
    address = settings.public_url.rstrip("/") + callback_path(PROBE, settings.callback_secrets[0])
    try:
        answer = requests.post(address, json={"status": "processing"}, timeout=PATIENCE, allow_redirects=False)
    except requests.RequestException as error:
        remedy = (
            "Check that the webhook runs, that the name is right, and that proxy and firewall let requests through."
        )
        yield bad(subject, f"BOOMERANG_PUBLIC_URL cannot be reached from here: {type(error).__name__}", remedy)
        return
    if answer.status_code == requests.codes.no_content:
        yield ok(subject, "BOOMERANG_PUBLIC_URL accepted a test callback")
    elif answer.status_code == requests.codes.forbidden:
        remedy = "Give webhook and workers the same BOOMERANG_CALLBACK_SECRETS; during a change, both values."
        yield bad(subject, "the webhook at BOOMERANG_PUBLIC_URL refuses our token", remedy)
    else:
        remedy = "POST /callbacks/… must reach the webhook unchanged: check the proxy in front of it."
        yield bad(subject, f"BOOMERANG_PUBLIC_URL answers {answer.status_code} to a callback", remedy)


def check_provider(settings: WorkerSettings) -> Iterator[Finding]:
    """Check that the provider accepts each lane's key, by looking up a task that does not exist. It costs nothing."""
    for lane in settings.lanes:
        subject = f"provider, lane {lane.name}"
        if not settings.key_of(lane):
            yield bad(
                subject,
                f"{lane.key_variable} is not set",
                "Workers need it: run the doctor in the environment of a worker.",
            )
            continue
        provider = Provider(settings, lane)
        try:
            looked = provider.get_status(PROBE, PROBE)
        finally:
            provider.close()
        match looked:
            case Held(reason):
                remedy = f"401: set a valid {lane.key_variable}; 402: pay the provider; 403: get the key allowed."
                yield bad(subject, reason, remedy)
            case Unavailable(reason):
                yield bad(
                    subject,
                    f"does not answer: {reason}",
                    "Check BOOMERANG_PROVIDER_URL, _CA and _PROXY, DNS and firewall.",
                )
            case _:
                yield ok(subject, "answers, and accepts the key")


def check_flower(address: str) -> Iterator[Finding]:
    """Check that Flower, if it runs, needs a password."""
    try:
        answer = requests.get(f"{address.rstrip('/')}/workers", timeout=PATIENCE, allow_redirects=False)
    except requests.RequestException:
        yield ok("Flower", f"not running at {address}")
        return
    if answer.status_code == requests.codes.ok:
        yield bad("Flower", f"{address} needs no password", "Start it with FLOWER_BASIC_AUTH=user:password.")
    else:
        yield ok("Flower", f"{address} needs a password")


def check_secrets(webhook: WebhookSettings, worker: WorkerSettings) -> Iterator[Finding]:
    """Check that secrets are hard to guess. No secret is shown."""
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
            remedy = "Create new ones: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
            yield bad(name, f"{weak} of {len(secrets)} can be guessed", remedy)
        elif secrets:
            yield ok(name, f"{len(secrets)}, hard to guess")
    if shared := {*keys, *admins} & {*webhook.callback_secrets, worker.provider_key}:
        remedy = "Use a different secret for each purpose."
        yield bad("secrets", f"{len(shared)} are used for two purposes", remedy)


def check_keys(settings: WebhookSettings) -> Iterator[Finding]:
    """Check that producers can have access: that there is at least one valid key."""
    try:
        with open_store(settings) as store:
            ring = KeyRing(store.context.client, store.context.keys)
            keys, migrated = ring.all(), ring.migrated
    except AccessRefused as error:
        yield bad("keys of producers", f"Redis refuses to read them: {error.reply}", RULES)
        return
    except StoreUnavailable:
        return  # reported already
    if not migrated:
        detail = "those of the version before are still valid, and webhook and worker may write them"
        yield warning("keys of producers", detail, "Copy them once, as the operator: boomerang-server keys migrate")
    kept = sum(key.opens(datetime.now(UTC)) for key in keys)
    named = len(settings.keys)
    if named or kept:
        yield ok("keys", f"{named} in the environment, {kept} in Redis")
    else:
        remedy = "Create one: boomerang-server keys add NAME; or set BOOMERANG_API_KEYS for the webhook."
        yield warning(
            "keys", "none in Redis or in this environment: without one, the webhook refuses every request", remedy
        )


def _damaged(subject: str, error: RecordDamaged) -> Finding:
    return bad(
        subject,
        f"{error.what} is damaged: {error.why}",
        "Run boomerang-server audit, which names the damage and the remedy.",
    )


def _secrets_of(keys: Sequence[str]) -> list[str]:
    """Return the secrets in these keys, without those that are given by their hash."""
    secrets = [key.partition(":")[2] or key for key in keys]
    return [secret for secret in secrets if not secret.startswith("sha256:")]


def bits(secret: str) -> float:
    """Return the Shannon entropy of its characters in bits. It is low for short and for repetitive secrets."""
    counts = Counter(secret)
    return -sum(count * math.log2(count / len(secret)) for count in counts.values())
