"""Scenarios that cause each side effect of the service. The table at the end maps scenarios to effects.

A scenario arms the point just before it may be reached. If it is not reached, the scenario runs again with new jobs.
A scenario returns a check that must become true in the end, or None.
"""

import json
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import requests
from celery import chord

from jobs.api_keys import PRODUCER, KeyRing
from jobs.bulk import BulkAction
from jobs.job_filter import JobFilter
from jobs.notices import SPACING, WAITS_FOR
from jobs.owners import ANYONE
from jobs.producer_ids import given_id
from jobs.receivers import receiver_of
from jobs.results.names import manifest_name
from jobs.states import State
from jobs.task_names import DELIVER, GENERATE
from tests.chaos.crash_world import ADMIN_KEY, KEY, OWNER, SLOTS, World, request_of
from tests.support.producers import own
from worker.notices.notices import NOTICES

A_DAY = 24 * 3600.0


@dataclass(frozen=True)
class Turn:
    """One run of a scenario: the world, the point's name, an image not yet stored; producers retry if `again`."""

    world: World
    point: str
    image: bytes
    again: bool

    def arm(self) -> None:
        """Kill the next process that reaches the point."""
        self.world.arm(self.point)


Check = Callable[[], object]
Scenario = Callable[[Turn], Check | None]


def one_job(t: Turn) -> None:
    t.arm()
    t.world.job(again=t.again)


def with_a_new_key(t: Turn) -> None:
    _, key = KeyRing(t.world.store.context.client, t.world.store.context.keys).add(OWNER, PRODUCER)
    t.arm()
    t.world.job(again=t.again, key=key)


def the_providers_contract(t: Turn) -> None:
    t.arm()
    params = {"prompt": "a fox", "external_task_id": t.world.new_id(), "image_list": [{"image": inline(t)}]}
    body = {"model": "kirin_image_omni", "input": [{"params": params}]}
    t.world.post("/model/v1/generation", again=t.again, json=body)
    t.world.accepted.add(own(str(params["external_task_id"]), OWNER))


def more_than_slots(t: Turn) -> None:
    t.world.turn(latency="0.4")
    t.arm()
    for _ in range(SLOTS + 3):
        t.world.job()


def more_than_slots_and_no_callbacks(t: Turn) -> None:
    t.world.turn(drop_callbacks=1)
    more_than_slots(t)


def notified(t: Turn) -> Check:
    t.arm()
    job_id = t.world.job(callback_url=t.world.listener.url)
    return lambda: t.world.notifications(job_id)


def notified_without_callbacks(t: Turn) -> Check:
    t.world.turn(drop_callbacks=1)
    return notified(t)


def failing_notified_without_callbacks(t: Turn) -> Check:
    t.world.turn(fail_permanent=1, drop_callbacks=1)
    return notified(t)


def failing(t: Turn) -> None:
    t.world.turn(fail=1)
    one_job(t)


def polled(t: Turn) -> None:
    t.world.turn(drop_callbacks=1, latency="1")
    one_job(t)


def without_hints(t: Turn) -> None:
    t.arm()
    t.world.jobs_without_hints(2)


def answer_lost(t: Turn) -> None:
    t.world.turn(lost_answers=1, latency="1.5", drop_callbacks=1)
    one_job(t)


def not_created(t: Turn) -> None:
    t.world.turn(error_before=1)
    one_job(t)


def throttled(t: Turn) -> None:
    t.world.turn(throttle=1)
    one_job(t)


def account_refused(t: Turn) -> None:
    t.world.turn(drop_callbacks=1, latency="1.5")
    assert t.world.in_state(t.world.job(), State.IN_PROGRESS)
    t.world.turn(account="402")
    t.arm()


def not_found_by_its_external_id(t: Turn) -> None:
    t.world.turn(lookup_lag=3600, drop_callbacks=1, latency="1")
    one_job(t)


def never_done(t: Turn) -> Check:
    """The job expires, and stays watched for as long again."""
    t.world.turn(latency="7200", drop_callbacks=1)
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.IN_PROGRESS)
    t.arm()
    deadline = t.world.store.context.settings.deadline
    t.world.ahead(deadline)

    watched: list[str] = []

    def given_up() -> bool:
        job = t.world.store.jobs.get(job_id)
        # Once: on a slow machine, the time of many polls together would exceed the retention.
        if job.state is State.EXPIRED and job.phase and not watched:
            watched.append(job_id)
            t.world.ahead(deadline)
        return job.state is State.EXPIRED

    return given_up


def provider_unreachable(t: Turn) -> None:
    t.world.turn(outage="cut")
    for _ in range(SLOTS):
        t.world.job()
    assert t.world.until(lambda: t.world.store.lanes.get().open_since, 20)
    t.arm()


def found_in_the_other_lane(t: Turn) -> None:
    """The jobs' Redis forgets that a job was sent through one lane, and another lane takes the job."""
    t.world.turn(latency="3", drop_callbacks=1)
    t.world.shut()
    job_id = t.world.job()

    def sent() -> None:
        t.world.reopen("other")
        assert t.world.in_state(job_id, State.IN_PROGRESS)

    t.world.lose_data(sent)
    t.arm()
    t.world.reopen()
    # After a lease, no worker can still be sending it.
    t.world.ahead(t.world.store.context.settings.submit_lease)


def sweep_left_over(t: Turn) -> Check:
    """A worker died between the beginning of a sweep and its first step."""
    batch = t.world.new_id()
    t.world.shut()
    ids = t.world.jobs_without_hints(5, batch)
    assert t.world.store.context.scripts.call("begin_sweep", batch, "cancel", "", "0", ANYONE, "")[0] == "begun"
    t.arm()
    t.world.reopen()
    return lambda: all(t.world.store.jobs.get(job_id).state is State.CANCELLED for job_id in ids)


def begun_bulk(t: Turn, batch: str) -> str:
    """Begin a bulk cancel of a batch, of which no step is done."""
    only = JobFilter(batch=batch).to_script_json(BulkAction.CANCEL.states)
    asked = json.dumps({"action": "cancel", "filter": only, "asked": {"batch": batch}, "key": ""})
    bulk_id = secrets.token_hex(8)
    assert t.world.store.context.scripts.call("begin_bulk", bulk_id, OWNER, asked, 50, 50) == "begun"
    return bulk_id


def bulk_left_over(t: Turn) -> Check:
    """A process died between the beginning of a bulk action and its first step."""
    batch = t.world.new_id()
    t.world.shut()
    ids = t.world.jobs_without_hints(5, batch)
    begun_bulk(t, batch)
    t.arm()
    t.world.reopen()
    return lambda: all(t.world.store.jobs.get(job_id).state is State.CANCELLED for job_id in ids)


def forgotten(t: Turn) -> Check:
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.COMPLETED)
    assert t.world.until(t.world.at_rest, 20)
    t.world.judge()
    t.arm()
    t.world.ahead(t.world.store.context.settings.retention + 60)
    return lambda: t.world.store.jobs.get_many([job_id]) == [None]


def upload(t: Turn, **more: Any) -> str:
    return str(t.world.post("/v1/images", data=t.image, **more).json()["id"])


def inline(t: Turn) -> str:
    return b64encode(t.image).decode()


def image_uploaded(t: Turn) -> None:
    t.arm()
    upload(t, again=t.again)


def image_requested(t: Turn) -> None:
    image_id = upload(t)
    t.arm()
    for _ in range(20):
        try:
            answer = requests.get(f"{t.world.webhook}/v1/images/{image_id}", headers=bearer(), timeout=20)
        except requests.ConnectionError:
            continue
        assert answer.ok
        return


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


def image_inside(t: Turn) -> None:
    t.arm()
    t.world.job(again=t.again, image_list=[{"image": inline(t)}])


def image_forgotten(t: Turn) -> Check:
    image_id = upload(t)
    t.world.ahead(t.world.store.context.settings.image_retention + 60)
    t.arm()
    redis = t.world.store.context.client
    return lambda: redis.zscore("{b}:images", image_id.rpartition(":")[2]) is None and redis.zcard("{b}:going") == 0


def image_lost(t: Turn) -> Check:
    t.world.shut()
    image_id = upload(t)
    job_id = t.world.job(image_list=[{"image": image_id}])
    redis = t.world.store.context.client
    redis.delete(*redis.scan_iter(f"{{b}}:o:{image_id.rpartition(':')[2]}-*"))
    t.arm()
    t.world.reopen()
    return lambda: t.world.store.jobs.get(job_id).state is State.FAILED


# --- by Celery --------------------------------------------------------------------------------------------------------


def a_task(t: Turn) -> Check:
    """A task with a link: both its result and the linked task must arrive."""
    queue = f"shop-linked-{t.world.new_id()}"
    link = t.world.app.signature("shop.paint", queue=queue, ignore_result=True)
    t.arm()
    task_id = t.world.task(link=link)
    return lambda: t.world.result(task_id) == "SUCCESS" and t.world.store.context.client.llen(queue) > 0


def two_tasks_under_one_id(t: Turn) -> Check:
    """Both links must be called, also if the worker dies between them."""
    t.world.turn(latency="1")
    queues = [f"shop-linked-{t.world.new_id()}" for _ in range(2)]
    task_id = t.world.new_id()
    for queue in queues:
        t.world.task(task_id=task_id, link=t.world.app.signature("shop.paint", queue=queue, ignore_result=True))
    redis = t.world.store.context.client
    assert t.world.until(lambda: redis.hlen(f"{{b}}:k:{task_id}") == len(queues), 10)
    t.arm()
    return lambda: t.world.result(task_id) == "SUCCESS" and all(redis.llen(queue) for queue in queues)


def a_task_after_the_end(t: Turn) -> Check:
    """It comes when its job has ended, with a link of its own."""
    job_id = t.world.task()
    assert t.world.in_state(job_id, State.COMPLETED)
    assert t.world.until(t.world.at_rest, 20)
    queue, task_id = f"shop-linked-{t.world.new_id()}", t.world.new_id()
    link = t.world.app.signature("shop.paint", queue=queue, ignore_result=True)
    t.arm()
    t.world.app.send_task(GENERATE, kwargs={"external_task_id": job_id}, task_id=task_id, link=link, queue="celery")
    redis = t.world.store.context.client
    return lambda: t.world.result(task_id) == "SUCCESS" and redis.llen(queue) > 0


def a_refused_task(t: Turn) -> Check:
    queue, task_id = f"shop-sorry-{t.world.new_id()}", t.world.new_id()
    errback = t.world.app.signature("shop.sorry", queue=queue, ignore_result=True)
    t.arm()
    t.world.app.send_task(GENERATE, kwargs={"model": "x"}, task_id=task_id, link_error=errback, queue="celery")
    redis = t.world.store.context.client
    return lambda: t.world.result(task_id) == "FAILURE" and redis.llen(queue) > 0


def a_task_with_an_image(t: Turn) -> Check:
    t.arm()
    task_id = t.world.task(image_list=[{"image": inline(t)}])
    return lambda: t.world.result(task_id) == "SUCCESS"


def a_chord(t: Turn) -> Check:
    queue = f"shop-all-{t.world.new_id()}"
    app, ids = t.world.app, [t.world.new_id() for _ in range(2)]
    t.arm()
    task = lambda name: app.signature(  # noqa: E731
        "boomerang.generate", kwargs=request_of(external_task_id=name), queue="celery", ignore_result=False
    )
    chord(map(task, ids), app=app)(app.signature("shop.all", queue=queue))
    t.world.accepted.update(ids)
    return lambda: t.world.store.context.client.llen(queue) > 0


def revoked_before_it_came(t: Turn) -> Check:
    """A task that was revoked before it arrived, for a job that came by Celery before."""
    t.world.turn(latency="1")
    for _ in range(SLOTS + 2):
        job_id = t.world.task()
    redis = t.world.store.context.client
    assert t.world.until(lambda: redis.hlen(f"{{b}}:k:{job_id}"), 10)
    task_id = t.world.new_id()
    t.world.store.celery.revoke([task_id])
    t.arm()
    t.world.task(task_id=task_id, external_task_id=job_id)
    return lambda: t.world.result(task_id) == "REVOKED"


def revoked(t: Turn) -> Check:
    """A revoke may be lost with the worker that receives it. Then the job continues."""
    t.world.turn(latency="1")
    for _ in range(SLOTS + 2):
        task_id = t.world.task()
    redis = t.world.store.context.client
    assert t.world.until(lambda: redis.hlen(f"{{b}}:k:{task_id}"), 10)
    t.arm()
    t.world.app.control.revoke(task_id)
    return lambda: t.world.result(task_id) in {"REVOKED", "SUCCESS"}


# --- by hand ----------------------------------------------------------------------------------------------------------


def cancelled(t: Turn) -> Check:
    t.world.turn(latency="1")
    for _ in range(SLOTS + 2):
        job_id = t.world.job(callback_url=t.world.listener.url)
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/cancel")
    return lambda: t.world.store.jobs.get(job_id).state is State.CANCELLED and t.world.notifications(job_id)


def paused(t: Turn) -> None:
    t.world.shut()
    job_id = t.world.job()
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/pause")
    t.world.post(f"/v1/jobs/{job_id}/resume")
    t.world.reopen()


def retried(t: Turn) -> None:
    t.world.turn(fail_permanent=1)
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.FAILED)
    t.world.calm()
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/retry")


def corrected(t: Turn) -> Check:
    t.world.turn(fail_permanent=1)
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.FAILED)
    t.world.calm()
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/retry", json=request_of(image_list=[{"image": inline(t)}]))
    return lambda: t.world.store.jobs.get(job_id).state is State.COMPLETED


def regenerated(t: Turn) -> Check:
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.COMPLETED)
    t.arm()
    t.world.accepted.add(own(f"{given_id(job_id)}.r2", OWNER))
    t.world.post(f"/v1/jobs/{given_id(job_id)}/regenerate")
    return lambda: t.world.store.jobs.get(own(f"{given_id(job_id)}.r2", OWNER)).regenerates == job_id


def reviewed(t: Turn) -> Check:
    job_id = t.world.job()
    assert t.world.in_state(job_id, State.COMPLETED)
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/outputs/0/review", method="PUT", json={"verdict": "rejected"})
    return lambda: t.world.store.reviews.of([job_id])[0][0].verdict == "rejected"


def delivered(t: Turn) -> str:
    """Return the id that the producer gave to a job whose notification was delivered."""
    job_id = t.world.job(callback_url=t.world.listener.url)
    assert t.world.until(lambda: t.world.notifications(job_id) and not t.world.store.jobs.get(job_id).owed, 20)
    return given_id(job_id)


def replayed(t: Turn) -> Check:
    job_id = delivered(t)
    before = t.world.notifications(job_id)
    t.arm()
    t.world.post(f"/v1/jobs/{job_id}/deliveries/replay")
    return lambda: t.world.notifications(job_id) > before


def replayed_since(t: Turn) -> Check:
    job_id = delivered(t)
    before = t.world.notifications(job_id)
    t.arm()
    t.world.post("/v1/deliveries/replay?state=delivered&limit=1")
    return lambda: t.world.notifications(job_id) > before


def replayed_at_a_host(t: Turn) -> None:
    delivered(t)
    t.arm()
    t.world.post(f"/v1/deliveries/replay?host={receiver_of(t.world.listener.url)}")


def receiver_enabled(t: Turn) -> None:
    delivered(t)
    t.arm()
    t.world.post(f"/v1/receivers/{receiver_of(t.world.listener.url)}/enable")


def lines(t: Turn, *, query: str = "", bad: bool = False) -> str:
    batch = t.world.new_id()
    text = "".join(json.dumps(request_of(image_list=[{"image": inline(t)}])) + "\n" for _ in range(3))
    t.arm()
    if bad:
        t.world.post(f"/v1/batches?id={batch}{query}", data=text + "{}\n", refused=True)
    else:
        t.world.post(f"/v1/batches?id={batch}{query}", data=text)
        t.world.accepted.update(own(f"{batch}.{number}", OWNER) for number in range(1, 4))
    return batch


def a_batch(t: Turn) -> None:
    lines(t)


def a_batch_as_a_whole(t: Turn) -> None:
    lines(t, query="&on_error=abort")


def a_batch_with_an_address(t: Turn) -> Check:
    batch = lines(t, query=f"&callback_url={t.world.listener.url}")

    def notified() -> bool:
        finished, saved = (t.world.batch_events(batch, f"batch.{kind}") for kind in ("finished", "saved"))
        return finished == {f"{batch}.finished.1"} and saved == {f"{batch}.saved.2"}

    return notified


def a_bad_batch(t: Turn) -> Check:
    batch = lines(t, query="&on_error=abort", bad=True)
    return lambda: t.world.store.context.client.exists(f"{{b}}:b:{own(batch, OWNER)}") == 0


def batch_of(t: Turn) -> str:
    """A batch of queued jobs, behind other queued jobs."""
    batch = t.world.new_id()
    t.world.turn(latency="1")
    t.world.jobs_without_hints(SLOTS + 2)
    t.world.jobs_without_hints(3, batch)
    # Delete the marker of the hint that was not sent.
    t.world.store.context.client.delete("{b}:wake")
    return batch


def batch_paused(t: Turn) -> None:
    batch = batch_of(t)
    t.arm()
    t.world.post(f"/v1/batches/{batch}/pause")
    t.world.store.batches.resume(batch)


def batch_resumed(t: Turn) -> None:
    batch = batch_of(t)
    t.world.store.batches.pause(batch)
    t.world.store.context.client.delete("{b}:wake")
    t.arm()
    t.world.post(f"/v1/batches/{batch}/resume")


def batch_approved(t: Turn) -> None:
    batch = lines(t, query="&paused=true")
    t.world.store.context.client.delete("{b}:wake")
    t.arm()
    t.world.post(f"/v1/batches/{batch}/approve")


def people_hear_of_it(t: Turn) -> Check:
    """A batch waits for an approval. Whoever gets the notice approves it."""
    batch = lines(t, query="&paused=true")
    t.world.ahead(WAITS_FOR + SPACING)
    t.world.app.send_task(DELIVER, args=[NOTICES], queue="boomerang.deliver")

    def approved() -> bool:
        if not t.world.notices(batch):
            return False
        t.world.store.batches.approve(own(batch, OWNER))
        return True

    return approved


def a_pilot(t: Turn) -> None:
    batch = lines(t, query="&pilot=1")
    t.world.store.batches.approve(own(batch, OWNER))


def a_quote(t: Turn) -> None:
    t.arm()
    t.world.post("/v1/quote", data=json.dumps(request_of(image_list=[{"image": inline(t)}])))


def batch_cancelled(t: Turn) -> None:
    batch = batch_of(t)
    t.arm()
    t.world.post(f"/v1/batches/{batch}/cancel")


def batch_retried(t: Turn) -> None:
    batch = t.world.new_id()
    t.world.turn(fail_permanent=1)
    ids = t.world.jobs_without_hints(3, batch)
    assert all(t.world.in_state(job_id, State.FAILED) for job_id in ids)
    t.world.calm()
    t.arm()
    t.world.post(f"/v1/batches/{batch}/retry")


def bulk_cancelled(t: Turn) -> None:
    batch = batch_of(t)
    t.arm()
    t.world.post("/v1/bulk", json={"action": "cancel", "filter": {"batch": given_id(batch)}})


def bulk_retried(t: Turn) -> Check:
    """Each job is paid for once more, and only once, whoever does the steps."""
    batch = t.world.new_id()
    t.world.turn(fail_permanent=1)
    ids = t.world.jobs_without_hints(3, batch)
    assert all(t.world.in_state(job_id, State.FAILED) for job_id in ids)
    t.world.calm()
    t.arm()
    t.world.post("/v1/bulk", json={"action": "retry", "filter": {"batch": given_id(batch)}})
    return lambda: all(t.world.store.jobs.get(job_id).state is State.COMPLETED for job_id in ids)


def bulk_aborted(t: Turn) -> None:
    bulk_id = begun_bulk(t, t.world.new_id())
    t.arm()
    t.world.post(f"/v1/bulk/{bulk_id}/abort")


def manifest_due(t: Turn) -> Check:
    """A batch's manifest lists all results, also if its writer was killed, whose claim lasts an hour."""
    batch = t.world.new_id()
    t.world.jobs_without_hints(2, batch)
    assert t.world.until(t.world.at_rest, 20)
    key = t.world.store.context.keys.singleton("manifests")
    manifest = t.world.folder / "results" / manifest_name(batch)
    due_now = lambda: t.world.store.context.client.zadd(key, {batch: 0}, xx=True, ch=True)  # noqa: E731
    assert due_now()
    t.arm()

    def written() -> bool:
        if manifest.exists():
            return manifest.read_bytes().count(b"\n") == 2
        due_now()
        return False

    return written


def lane_paused(t: Turn) -> Check:
    t.world.jobs_without_hints(3)
    t.world.store.context.client.delete("{b}:wake")
    t.arm()
    path = f"/v1/lanes/{t.world.store.context.configured.lanes[0].name}"
    t.world.post(path, method="PATCH", key=ADMIN_KEY, json={"submit_rate": 1000, "paused": True})
    t.world.post(path, method="PATCH", key=ADMIN_KEY, json={"reset": ["submit_rate"], "paused": False})
    return lambda: not t.world.store.lanes.get().paused


def key_limited(t: Turn) -> None:
    t.world.jobs_without_hints(3)
    t.arm()
    t.world.post(f"/v1/keys/{OWNER}/limits", method="PATCH", key=ADMIN_KEY, json={"weight": 2})


#: Use case → scenario → the effects of the use case that the scenario causes.
CASES: Mapping[str, Mapping[Scenario, str]] = {
    "submit": {
        one_job: "admit messages.submit claim provider.submit mark_in_progress ack",
        polled: "claim provider.submit mark_in_progress ack",
        image_inside: "image_known",
        image_lost: "image_lost finish",
        answer_lost: "mark_in_doubt",
        throttled: "hold requeue",
    },
    "reconcile": {
        polled: "claim_due provider.find_by_external_id reschedule_lookup finish changes events ack",
        without_hints: "admit messages.submit due_saves messages.save",
        failing_notified_without_callbacks: "messages.deliver",
        more_than_slots_and_no_callbacks: "messages.admit_hint",
        answer_lost: "mark_in_progress",
        not_created: "requeue",
        account_refused: "hold",
        not_found_by_its_external_id: "provider.get_status",
        never_done: "expire",
        provider_unreachable: "probe provider.probe probed",
        found_in_the_other_lane: "move_to_lane",
        sweep_left_over: "sweep",
        bulk_left_over: "bulk",
        a_batch_with_an_address: "due_events messages.deliver",
        forgotten: "purge roll_history",
        image_forgotten: "images_old image_store.remove images_gone",
    },
    "deliver": {
        notified: "claim_deliveries begin_notification notifier delivered end_notification ack",
        a_task: "messages.finish",
        a_batch_with_an_address: "claim_events begin_notification notifier event_delivered end_notification",
        people_hear_of_it: "claim_notices notice notices_sent",
    },
    "save": {
        polled: "claim_saves result_store.mark result_store.draft result_store.fetch result_store.put "
        "image_store.write record_save ack",
        a_batch: "manifests.note",
        manifest_due: "manifests.claim result_store.draft result_store.put manifests.finish",
        notified_without_callbacks: "messages.deliver",
    },
    "generate": {
        a_task: "enqueue messages.admit_hint park result celery.send message_finished ack",
        two_tasks_under_one_id: "park result celery.send message_finished ack",
        a_task_after_the_end: "park result celery.send message_finished task_state ack",
        a_refused_task: "begin_refusal result celery.send end_refusal task_state ack",
        a_task_with_an_image: "image_known image_begun image_store.write image_kept",
        a_chord: "chord",
        revoked_before_it_came: "revoke messages.deliver",
    },
    "revoke": {revoked: "revoke messages.deliver messages.admit_hint"},
    "callbacks.take": {
        one_job: "record_callback finish answer",
        notified: "messages.deliver",
        more_than_slots: "messages.submit",
        failing: "messages.reconcile",
    },
    "jobs.create": {
        one_job: "enqueue messages.submit answer",
        with_a_new_key: "key_used",
        image_inside: "image_known image_begun image_store.write image_kept",
    },
    "generation.submit": {
        the_providers_contract: ("image_known image_begun image_store.write image_kept enqueue messages.submit answer"),
    },
    "images.create": {image_uploaded: "image_known image_begun image_store.write image_kept answer"},
    "images.show": {image_requested: "image_known"},
    "jobs.cancel": {cancelled: "cancel messages.deliver messages.submit audited answer"},
    "jobs.pause": {paused: "pause_job audited answer"},
    "jobs.resume": {paused: "pause_job audited answer"},
    "jobs.retry": {
        retried: "retry messages.submit audited answer",
        corrected: "image_known image_begun image_store.write image_kept revise messages.submit audited answer",
    },
    "jobs.regenerate": {regenerated: "regenerate messages.submit audited answer"},
    "reviews.put": {reviewed: "review audited answer"},
    "deliveries.replay": {replayed: "replay audited answer"},
    "deliveries.replay_page": {replayed_since: "replay audited answer", replayed_at_a_host: "enable_receiver"},
    "deliveries.enable": {receiver_enabled: "enable_receiver audited answer"},
    "batches.create": {
        a_batch: "image_known image_begun image_store.write image_kept enqueue messages.submit audited answer",
        a_batch_as_a_whole: "stage commit sweep",
        a_pilot: "begin_pilot",
        a_bad_batch: "unstage",
    },
    "batches.quote": {a_quote: "answer"},
    "limits.change_lane": {lane_paused: "change_limits pause_lane messages.submit audited answer"},
    "limits.change_key_limits": {key_limited: "change_limits messages.submit audited answer"},
    "batch_actions.pause": {batch_paused: "pause messages.submit audited answer"},
    "batch_actions.resume": {batch_resumed: "pause messages.submit audited answer"},
    "batch_actions.approve": {batch_approved: "approve messages.submit audited answer"},
    "batch_actions.cancel": {batch_cancelled: "begin_sweep sweep messages.submit audited answer"},
    "bulk.begin": {
        bulk_cancelled: "begin_bulk bulk messages.submit audited answer",
        bulk_retried: "bulk messages.submit",
    },
    "bulk.abort": {bulk_aborted: "abort_bulk audited answer"},
    "batch_actions.retry": {batch_retried: "begin_sweep sweep messages.submit audited answer"},
}
