"""Workers as processes that save results, from a server of results that misbehaves, to a folder that goes away."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from jobs.job import Job
from jobs.lanes import LaneSettings
from jobs.new_job import NewJob
from jobs.result import Result
from jobs.states import State
from jobs.store.store import Store
from tests.support.http_server import Server
from tests.support.media_files import image
from tests.support.waiting import WaitFor
from tests.support.worker_service import RunService, Service
from tests.support.world import request_of
from worker.settings import Settings

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]
#: No worker admits jobs from this pool, so the test alone decides about their ends.
LANE = LaneSettings(name="test", pool="test")


class Results:
    """Serves results over HTTP. `faults`: by path, what to do instead of answering, one after another."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Callable[[Any], object]]] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                faults = outer.faults.get(self.path)
                if faults:
                    faults.pop(0)(self)
                    return
                body = outer.files.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def answer(status: int) -> Callable[[Any], object]:
    def send(handler: Any) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return send


def cut_short(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b"\x89PNG")
    handler.close_connection = True


class Saving:
    """A service that saves results to a folder, and the server of the results."""

    def __init__(self, service: Service, folder: Path, results: Results) -> None:
        self.service = service
        self.folder = folder
        self.results = results
        settings = Settings(provider_key="k", named_lanes=(LANE,))
        self.store = Store(service.redis, settings)

    def complete(self, job_id: str, images: Sequence[bytes]) -> None:
        """Complete a job whose results the server has."""
        paths = [f"/{job_id}/{index}" for index in range(len(images))]
        self.results.files |= dict(zip(paths, images, strict=True))
        job = NewJob(id=job_id, text=request_of(job_id).text(), model="kirin_image_omni", n=len(images), pool=LANE.pool)
        self.store.jobs.enqueue([job])
        assert self.store.attempts.admit(10, LANE).ids == (job_id,)
        (claim,) = self.store.attempts.claim([job_id])
        assert self.store.attempts.mark_in_progress(job_id, claim.fence, "t")
        output = tuple({"type": "image", "url": self.results.url + path} for path in paths)
        assert self.store.attempts.finish(job_id, State.COMPLETED, Result(output=output), "poll").outcome == "finished"

    def get(self, job_id: str) -> Job:
        return self.store.jobs.get(job_id)

    def is_saved(self, job_id: str, images: Sequence[bytes]) -> bool:
        saved = self.get(job_id).saved
        if saved is None:
            return False
        assert [each.sha256 for each in saved.outputs] == [sha256(each).hexdigest() for each in images]
        assert [(self.folder / each.name).read_bytes() for each in saved.outputs] == list(images)
        return True

    def try_now(self, job_id: str) -> None:
        """End the lease, or the wait, of a save."""
        assert self.service.redis.zadd("{b}:sq:|test", {job_id: 1}, xx=True) == 0


@pytest.fixture(scope="module")
def saving(run_service: RunService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saving]:
    folder = tmp_path_factory.mktemp("results") / "store"
    with contextlib.closing(Results()) as results:
        env = {"BOOMERANG_RESULT_STORE": f"file://{folder}"}
        with run_service(workers=(env,)) as service:
            yield Saving(service, folder, results)


@pytest.fixture
def announced(saving: Saving, wait_for: WaitFor) -> Saving:
    """Wait for the worker to announce the store: the test's own process has none."""
    wait_for(lambda: saving.store.liveness.pulse().saves, 60)
    return saving


def test_results_are_saved_and_the_provider_may_delete_its_own(announced: Saving, wait_for: WaitFor) -> None:
    images = [image("png", 40 + number) for number in range(3)]
    announced.complete("three", images)
    wait_for(lambda: announced.is_saved("three", images), 60)
    announced.results.files.clear()
    assert announced.is_saved("three", images)
    saved = announced.get("three").saved
    assert saved
    assert [(each.width, each.height, each.content_type) for each in saved.outputs] == [
        (40 + number, 30, "image/png") for number in range(3)
    ]


@pytest.mark.parametrize("fault", [answer(500), answer(404), cut_short], ids=["500", "not yet there", "short body"])
def test_a_server_that_fails_and_recovers_costs_only_time(
    announced: Saving, wait_for: WaitFor, fault: Callable[[Any], object], request: pytest.FixtureRequest
) -> None:
    job_id = "fault-" + request.node.callspec.id.replace(" ", "-")
    announced.results.faults[f"/{job_id}/0"] = [fault] * 8
    images = [image("png")]
    announced.complete(job_id, images)
    wait_for(lambda: (progress := announced.get(job_id).save) is not None and progress.tries > 0, 60)
    announced.results.faults.clear()
    wait_for(lambda: announced.is_saved(job_id, images), 60)


def test_a_result_that_is_no_image_is_not_saved_until_the_provider_has_the_right_one(
    announced: Saving, wait_for: WaitFor
) -> None:
    announced.complete("odd", [b"this is no image, whatever its address says"])
    wait_for(lambda: (progress := announced.get("odd").save) is not None and progress.tries > 0, 60)
    assert [each for each in announced.folder.rglob("*odd*") if each.is_file()] == []
    images = [image("png")]
    announced.results.files["/odd/0"] = images[0]
    wait_for(lambda: announced.is_saved("odd", images), 60)


def test_a_store_that_is_away_for_a_while_costs_only_time(announced: Saving, wait_for: WaitFor) -> None:
    images = [image("png", 50)]
    announced.complete("before", images)
    wait_for(lambda: announced.is_saved("before", images), 60)
    away = announced.folder.with_name("away")
    announced.folder.rename(away)
    announced.folder.mkdir()  # the mount point of a volume that is not mounted
    announced.complete("unmounted", images)
    wait_for(lambda: (progress := announced.get("unmounted").save) is not None and progress.tries > 0, 60)
    progress = announced.get("unmounted").save
    assert progress
    assert "not mounted" in (progress.error or "")
    assert list(announced.folder.iterdir()) == []
    announced.folder.rmdir()
    away.rename(announced.folder)
    wait_for(lambda: announced.is_saved("unmounted", images), 60)


def test_a_worker_that_is_killed_while_it_saves_is_replaced(announced: Saving, wait_for: WaitFor) -> None:
    go = threading.Event()
    announced.results.faults["/killed/1"] = [lambda _: go.wait(60)]
    images = [image("png", 60), image("png", 61)]
    announced.complete("killed", images)
    wait_for(lambda: "/killed/1" in announced.results.asked, 60)
    (worker,) = announced.service.workers
    # The tether's child: the worker itself.
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(30)
    go.set()
    assert announced.get("killed").saved is None
    # A worker without a result store runs meanwhile: what is owed stays owed.
    without = announced.service.start(7)
    wait_for(lambda: (announced.store.liveness.pulse().round_age or 99) < 3, 60)
    announced.try_now("killed")
    progress = announced.get("killed").save
    assert progress
    assert progress.owed
    without.terminate()
    without.wait(60)
    announced.service.workers = [announced.service.start(8, BOOMERANG_RESULT_STORE=f"file://{announced.folder}")]
    wait_for(lambda: announced.is_saved("killed", images), 90)
    files = [each for each in announced.folder.rglob("*") if each.is_file()]
    assert len([each for each in files if "killed" in each.name]) == 3
