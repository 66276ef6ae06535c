"""A refused Celery message stores a short error, however much is wrong with it."""

import json
from typing import Any

import pytest

from tests.support.world import MakeWorld, World
from worker.errors import GenerationRefused
from worker.generate.enqueue import GenerateCall, GenerateHandler
from worker.generate.unreachable import Reachability

FOX = {"model": "kirin_image_omni", "prompt": "a fox"}
#: Bytes. What a producer can read at a glance is far below.
MOST = 12 * 1024

HOSTILE: dict[str, dict[str, Any]] = {
    "unknown members": FOX | {f"k{number:06d}": 0 for number in range(50_000)},
    "unknown members of a list": FOX | {"image_list": [{f"k{number}": 0 for number in range(20)}] * 10},
    "a long name": FOX | {"x" * 1_000_000: 0},
    "a long id": FOX | {"external_task_id": "x" * 1_000_000},
    "a long id alone": {"external_task_id": "x" * 1_000_000},
    "an id alone that is an object": {"external_task_id": {f"k{number}": "é" * 100 for number in range(9_000)}},
    "an id alone with control characters": {"external_task_id": "\x1b]0;x\x07" * 1_000},
}


def handler(w: World) -> GenerateHandler:
    return GenerateHandler(w.store, w.messages, w.images, Reachability(w.app), allow_private_hosts=False)


@pytest.mark.parametrize("request_", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_message_stores_a_short_error(request_: dict[str, Any], world: MakeWorld) -> None:
    ending = handler(world())(GenerateCall(task_id="t1", request=request_, continuation="{}"))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert 0 < len(str(ending.outcome).encode()) <= MOST


def test_the_broker_is_asked_about_few_tasks_that_follow(world: MakeWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fault(_: Reachability, step: Any) -> str:
        asked.append(step.name)
        return "x" * 100_000

    monkeypatch.setattr(Reachability, "_fault", fault)
    links = [{"task": f"shop.{number}" + "y" * 1_000, "options": {"queue": f"q{number}"}} for number in range(5_000)]
    continuation = json.dumps({"link": links})
    ending = handler(world())(GenerateCall(task_id="t1", request=FOX, continuation=continuation))
    assert ending is not None
    assert isinstance(ending.outcome, GenerationRefused)
    assert len(str(ending.outcome).encode()) <= MOST
    assert len(asked) <= 100
