"""Slots on the real stack under kills of workers: never exceeded or lost. One of two accounts learns its limit."""

import json
import os
from contextlib import closing
from pathlib import Path

import pytest
import requests

from boomerang_client import Client
from jobs.audit.audit import audit
from jobs.connections.client import connect
from jobs.lanes import LaneSettings
from jobs.settings import Settings
from jobs.store.store import Store
from ops.local.stack import LocalStack, Options
from tests.support.killing import killing
from tests.support.producers import LOCAL, own
from tests.support.waiting import WaitFor

pytestmark = [pytest.mark.stack, pytest.mark.timeout(180)]

JOBS = 150
#: Slots of each account at the provider. One lane is set to fewer, the other has to learn the limit.
ALLOWED, CAPPED = 20, 8
LANES = [{"name": "capped", "max_in_flight": CAPPED}, {"name": "learning", "learn_limit": True}]
KEYS = {"BOOMERANG_PROVIDER_KEY_CAPPED": "key-of-capped", "BOOMERANG_PROVIDER_KEY_LEARNING": "key-of-learning"}
SIMULATOR = f"--seed 5 --slots {ALLOWED} --latency 0.3-0.8 --lost-answers 0.03 --error-before 0.03 --drop-callbacks 0.1"
SETTINGS = {
    "BOOMERANG_LANES": json.dumps(LANES),
    "BOOMERANG_POLL_FIRST": "2",
    "BOOMERANG_POLL_MAX": "5",
    "BOOMERANG_CONNECT_TIMEOUT": "1",
    "BOOMERANG_READ_TIMEOUT": "2",
    "BOOMERANG_SUBMIT_LEASE": "8.5",
    "BOOMERANG_LOOKUP_GRACE": "2",
    "BOOMERANG_SUBMIT_GROUP": "5",
}


def test_slots_are_neither_exceeded_nor_lost_while_workers_are_killed(tmp_path: Path, wait_for: WaitFor) -> None:
    keys = " ".join(f"--key {key}" for key in KEYS.values())
    options = Options(folder=tmp_path, flower=False, simulator=f"{SIMULATOR} {keys}", settings=SETTINGS, warnings=False)
    lines = [{"model": "kirin_image_omni", "prompt": f"fox {number}", "n": 1 + number % 3} for number in range(JOBS)]
    settings = Settings(named_lanes=tuple(LaneSettings(name=str(lane["name"])) for lane in LANES))
    with LocalStack(options, lambda *_: None, {**os.environ, **KEYS}) as stack, Client(stack.url, stack.key) as client:
        assert client.enqueue_batch(lines, id="slots").accepted == JOBS
        redis_client = connect(stack.redis_url)
        with closing(redis_client):
            store = Store(redis_client, settings)
            with killing(stack, ("worker",), every=3.0, times=3):
                wait_for(
                    lambda: store.batches.get(own("slots", LOCAL)).done, timeout=150, message="every accepted job ends"
                )
            lanes = {lane.name: lane for lane in store.lanes.get_all()}
            # every slot is free again, and none is reserved
            assert [(lane.slots, lane.dispatched) for lane in lanes.values()] == [(0, 0), (0, 0)]
            assert audit(store) == []
        provider = stack.plan.url("simulator")
        stats = requests.get(f"{provider}/_sim/stats", timeout=30).json()
        ledger = requests.get(f"{provider}/_sim/ledger?purchases=0", timeout=30).json()["totals"]
    assert stack.restarts >= 2
    assert (ledger["bought"], ledger["bought_twice"]) == (JOBS, 0)
    capped, learning = (stats["accounts"][key] for key in KEYS.values())
    # the provider would have accepted more from this one
    assert 0 < capped["peak"] <= CAPPED < ALLOWED
    # and refused this one at times, until its limit was learned
    refused = stats["fired"].get("slots", 0)
    assert 0 < refused <= learning["tasks"] / 5
    assert learning["peak"] > CAPPED
    # our count may exceed the provider's, by tasks whose end is not known yet
    assert 2 <= lanes["learning"].learned <= 2 * ALLOWED
    assert any(change.what == "limit" for change in lanes["learning"].history)
