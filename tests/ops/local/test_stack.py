import socket
from pathlib import Path

import pytest

from ops.local import data_folder
from ops.local.redis_server import free_port
from ops.local.stack import LocalStack, Options

pytestmark = pytest.mark.stack


def test_a_port_that_is_taken_during_the_start_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        # Given another process that takes the simulator's port just after it was chosen
        chosen = {"webhook": free_port(), "simulator": taken, "flower": free_port()}
        monkeypatch.setattr(data_folder, "choose_ports", lambda *_: chosen)
        # When the stack starts
        lines: list[tuple[str, str]] = []
        stack = LocalStack(Options(folder=tmp_path, flower=False), lambda *line: lines.append(line))
        with stack:
            # Then the simulator has another port, and the webhook keeps its own
            assert stack.plan.ports["simulator"] != taken
            assert stack.plan.ports["webhook"] == chosen["webhook"]
        # And the processes of the first start are not reported as failures
        assert lines == []
