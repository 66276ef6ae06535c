"""Jobs that refer to stored images: what the provider gets, and what happens when an image cannot be read."""

import json
import re
import tracemalloc
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from jobs.audit.audit import audit
from jobs.errors import ImagesUnavailable
from jobs.new_job import NewJob
from jobs.states import State
from schemas import checked_in, load_request
from tests.support.listener import Listener
from tests.support.simulator import Simulator
from tests.support.world import MakeWorld
from worker.errors import GenerationRefused
from worker.generate.enqueue import GenerateCall, GenerateHandler
from worker.generate.unreachable import Reachability
from worker.provider.body import Pieces, body_of
from worker.provider.image_cache import ImageCache

Draw = Callable[..., bytes]


def request_with(w: Any, *images: bytes, prompt: str = "a fox") -> Any:
    """Store the images and return a valid request that refers to them."""
    given = [{"image": b64encode(image).decode()} for image in images]
    request = load_request({"model": "kirin_image_omni", "prompt": prompt, "image_list": given})
    return checked_in(request, w.images.put)


def enqueue(w: Any, request: Any, *ids: str) -> None:
    jobs = [NewJob(id=job_id, text=request.text(), model=request.model) for job_id in ids]
    assert {outcome.value for outcome in w.store.jobs.enqueue(jobs).outcomes} == {"created"}


def sent_parameters(listener: Listener) -> list[dict[str, Any]]:
    """Return the parameters of every submission."""
    return [json.loads(body)["input"][0]["params"] for _, _, _, body in listener.received]


def test_the_provider_accepts_the_bytes_of_a_stored_image(world: MakeWorld, simulator: Simulator, draw: Draw) -> None:
    w = world()
    enqueue(w, request_with(w, draw(50_000), draw(seed=1)), "job-1")
    w.submit()
    assert w.job().state is State.IN_PROGRESS
    assert simulator.bought()[0] == 1
    assert w.settle().state is State.COMPLETED
    assert audit(w.store) == []


def test_references_are_replaced_by_the_images_in_order(world: MakeWorld, listener: Listener, draw: Draw) -> None:
    w = world(listener.url)
    first, second = draw(5_000), draw(5_000, 1)
    tricky = f"image:sha256:{'0' * 64} “ü” \\ image_list"
    enqueue(w, request_with(w, first, second, first, prompt=tricky), "job-1")
    w.submit()
    (params,) = sent_parameters(listener)
    assert params["image_list"] == [{"image": b64encode(each).decode()} for each in (first, second, first)]
    assert (params["prompt"], params["external_task_id"]) == (tricky, "job-1")
    (headers,) = [headers for _, _, headers, _ in listener.received]
    assert "Transfer-Encoding" not in headers


def test_the_image_key_is_a_setting(world: MakeWorld, listener: Listener, draw: Draw) -> None:
    w = world(listener.url, image_key="image_url")
    enqueue(w, request_with(w, draw()), "job-1")
    w.submit()
    assert sent_parameters(listener)[0]["image_list"] == [{"image_url": b64encode(draw()).decode()}]


def test_a_body_is_built_without_copying_its_images(draw: Draw) -> None:
    image = b64encode(draw(3_000_000))
    given = [{"image": f"image:sha256:{'a' * 64}"}] * 4
    request = load_request({"model": "kirin_image_omni", "prompt": "a fox", "image_list": given})
    tracemalloc.start()
    body = body_of(request, lambda each: {"params": dict(each.params)}, {"a" * 64: image})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert isinstance(body, Pieces)
    assert [piece for piece in body if piece is image] == [image] * 4
    assert len(body) == len(b"".join(body))
    assert json.loads(b"".join(body))["params"]["image_list"] == [{"image": image.decode()}] * 4


def test_many_jobs_share_one_read_of_an_image(world: MakeWorld, listener: Listener, draw: Draw) -> None:
    w = world(listener.url, read_timeout=10.0)
    enqueue(w, request_with(w, *(draw(10_000, seed) for seed in range(4))), *(f"job-{n}" for n in range(40)))
    read, reads = w.image_store.read, []
    w.image_store.read = lambda name: (reads.append(name), read(name))[1]
    w.submit()
    assert {len(params["image_list"]) for params in sent_parameters(listener)} == {4}
    assert (len(listener.received), len(reads), w.image_cache.size) == (40, 4, 4 * 13_336)


def test_a_job_with_a_missing_image_fails_with_a_remedy(world: MakeWorld, listener: Listener, draw: Draw) -> None:
    w = world(listener.url)
    enqueue(w, request_with(w, draw()), "job-1")
    w.redis.delete(*w.redis.keys("{b}:o:*"))
    w.submit()
    job = w.job()
    assert (job.state, job.result.error["code"]) == (State.FAILED, "image_not_found")
    assert "POST /v1/images" in job.result.error["message"]
    assert listener.received == []
    # The job can be retried when the image is stored again
    request_with(w, draw())
    w.store.jobs.retry("job-1")
    w.submit()
    assert len(listener.received) == 1


def test_jobs_wait_while_the_image_store_is_unavailable(world: MakeWorld, simulator: Simulator, draw: Draw) -> None:
    w = world()
    enqueue(w, request_with(w, draw()), "job-1")
    w.enqueue("plain")
    read = w.image_store.read

    def unavailable(name: str) -> bytes:
        raise ImagesUnavailable("The image store (BOOMERANG_IMAGE_STORE) failed")

    w.image_store.read = unavailable
    w.submit()
    job = w.job()
    assert (job.state, job.attempt, job.submit_tries) == (State.QUEUED, 1, 0)
    assert "image store" in (job.reason or "")
    assert [task["external_task_id"] for task in simulator.get("/_sim/ledger")["purchases"]] == ["plain"]
    assert w.store.lanes.get_all()[0].held is False
    w.image_store.read = read
    job = w.settle()
    assert (job.state, job.attempt) == (State.COMPLETED, 1)
    assert audit(w.store) == []


def test_a_job_waits_when_the_image_cache_stays_full(world: MakeWorld, listener: Listener, draw: Draw) -> None:
    w = world(listener.url)
    w.submitter._images = small = ImageCache(w.images, 1)
    first, second = request_with(w, draw()), request_with(w, draw(seed=1))
    enqueue(w, first, "job-1")
    enqueue(w, second, "job-2")
    held = [image["image"].removeprefix("image:sha256:") for image in first.params["image_list"]]
    w.submitter._patience = 0.05
    with small.borrow(held, 1):
        w.submit()
    assert w.job("job-2").state is State.QUEUED
    w.submitter._patience = 10
    w.submit()
    assert "job-2" in [each["external_task_id"] for each in sent_parameters(listener)]


def test_reconcile_removes_images_that_no_job_uses(world: MakeWorld, draw: Draw) -> None:
    w = world(image_retention=60)
    enqueue(w, request_with(w, draw()), "job-1")
    request_with(w, draw(seed=1))
    w.round(61)
    assert len(w.redis.keys("{b}:o:*")) == 1
    w.settle()
    w.round(61)
    assert w.redis.keys("{b}:o:*") == []
    assert w.redis.exists("{b}:images", "{b}:kept", "{b}:uses", "{b}:going") == 0


def test_a_round_completes_while_the_image_store_is_unavailable(world: MakeWorld, draw: Draw) -> None:
    w = world(image_retention=60)
    request_with(w, draw())
    calls = []

    def unavailable(names: list[str]) -> None:
        calls.append(names)
        raise ImagesUnavailable("The image store (BOOMERANG_IMAGE_STORE) failed")

    w.image_store.remove = unavailable  # type: ignore[assignment]
    w.ahead(61)
    w.reconciler()
    w.reconciler()
    assert len(calls) == 1  # the second round does not call the store again


# --- Celery producers -------------------------------------------------------------------------------------------------


def call_of(task_id: str, request: dict[str, Any]) -> GenerateCall:
    return GenerateCall(task_id=task_id, request=request, continuation="{}")


def test_a_celery_producers_image_is_stored_once(world: MakeWorld, draw: Draw) -> None:
    w = world()
    handle = GenerateHandler(w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)
    request = {"model": "kirin_image_omni", "prompt": "a fox", "image_list": [{"image": b64encode(draw()).decode()}]}
    assert [handle(call_of(f"t{n}", request)) for n in range(3)] == [None] * 3
    assert len(w.redis.keys("{b}:o:*")) == 1
    text = w.store.jobs.get("t0", text=True).text
    reference = json.loads(str(text))["params"]["image_list"][0]["image"]
    assert reference.startswith("image:sha256:")
    assert handle(call_of("t0", {**request, "image_list": [{"image": reference}]})) is None
    assert w.redis.zcard("{b}:s:queued") == 3


def test_a_celery_producers_reference_to_an_unknown_image_is_refused(world: MakeWorld) -> None:
    w = world()
    handle = GenerateHandler(w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)
    request = {"model": "kirin_image_omni", "prompt": "x", "image_list": [{"image": "image:sha256:" + "0" * 64}]}
    ending = handle(call_of("t1", request))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert re.search(r"image_list\.0\.image: .*POST /v1/images", str(ending.outcome))
