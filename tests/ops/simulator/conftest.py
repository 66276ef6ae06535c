import base64
from collections.abc import Iterator
from typing import Any

import pytest

from ops.simulator.settings import Settings
from tests.support.drawing import DrawBase64, DrawImage, drawn
from tests.support.listener import Listener
from tests.support.simulator import Simulator, StartSimulator


@pytest.fixture
def start() -> Iterator[StartSimulator]:
    """`start(latency="0", drop_callbacks=1, …)` starts a simulator with these faults; `settings=` sets the rest."""
    running: list[Simulator] = []

    def begin(settings: dict[str, Any] | None = None, **faults: Any) -> Simulator:
        simulator = Simulator(Settings(faults={"latency": "0", **faults}, **(settings or {})))
        running.append(simulator)
        return simulator

    yield begin
    for simulator in running:
        simulator.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def image() -> DrawImage:
    """`image(width, height, kind, colour)` returns the bytes of an image of one colour."""
    return drawn


@pytest.fixture
def image64() -> DrawBase64:
    """`image64(…)` returns the same image as raw base64."""
    return lambda *args, **kwargs: base64.b64encode(drawn(*args, **kwargs)).decode()
