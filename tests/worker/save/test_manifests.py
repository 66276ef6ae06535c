"""The manifests that a worker of boomerang.save writes. What they contain: tests/jobs/results/test_manifest.py."""

import logging
import os
import time
from pathlib import Path

import pytest

from jobs.blobs.blob import ABANDONED
from jobs.blobs.folder import DRAFTS
from jobs.errors import ResultsUnavailable
from jobs.results.manifest import manifest_name
from jobs.task_names import RECONCILE, SAVE
from tests.support.waiting import WaitFor
from tests.support.world import AtOnce, MakeWorld
from worker.app import create_app
from worker.save.manifests import ManifestWriter


def test_reconcile_asks_the_worker_that_has_the_store_for_manifests(
    world: MakeWorld, tmp_path: Path, wait_for: WaitFor
) -> None:
    w = world(result_store=f"file://{tmp_path}")
    assert w.store.continuity.establish(w.store.continuity.standing())
    app = create_app(w.settings)
    w.redis.zadd(w.store.context.keys.singleton("manifests"), {"zoo": 1})
    app.tasks[RECONCILE].apply(throw=True)
    assert not (tmp_path / manifest_name("zoo")).exists()
    assert w.redis.llen(SAVE) == 1
    app.tasks[SAVE].apply(throw=True)
    wait_for((tmp_path / manifest_name("zoo")).exists)
    app.close()


def test_what_killed_workers_left_in_the_store_is_removed_although_nothing_is_saved(
    world: MakeWorld, tmp_path: Path, wait_for: WaitFor
) -> None:
    w = world(result_store=f"file://{tmp_path}")
    assert w.store.continuity.establish(w.store.continuity.standing())
    left = tmp_path / DRAFTS / "left"
    left.parent.mkdir()
    left.write_bytes(b"half a picture")
    long_ago = time.time() - ABANDONED - 60
    os.utime(left, (long_ago, long_ago))
    app = create_app(w.settings)
    for _ in range(2):
        w.reconciler()
    assert w.messages_in(SAVE) == 1
    app.tasks[SAVE].apply(throw=True)
    assert wait_for(lambda: not left.exists())
    app.close()


def test_after_an_outage_of_the_store_a_manifest_is_written_within_minutes(
    world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    w = world()
    alarms = w.store.context.keys.singleton("manifests")
    w.redis.zadd(alarms, {"zoo": 1})

    def unavailable() -> None:
        raise ResultsUnavailable("the bucket does not answer")

    with caplog.at_level(logging.WARNING):
        ManifestWriter(w.store, unavailable, AtOnce())()  # type: ignore[arg-type]
    assert "the bucket does not answer" in caplog.text
    seconds, micros = w.redis.time()
    assert w.redis.zscore(alarms, "zoo") < seconds * 1e6 + micros + 120e6
