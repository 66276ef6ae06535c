"""The simulated provider in a thread of the test process."""

import asyncio
import threading
from typing import Any, Protocol

import requests
from aiohttp import web

from ops.simulator.server import create_app
from ops.simulator.settings import Settings

#: The keys of its accounts.
KEY, OTHER_KEY = "canary-provider-key-7f3a", "canary-provider-key-9c1b"


class Simulator:
    """A running simulator with a client and control calls. Without `settings` it has two accounts and no latency."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.headers["Authorization"] = "Bearer key"
        self._settings = settings or Settings(keys=frozenset({KEY, OTHER_KEY}), faults={"latency": "0"})
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        runner = web.AppRunner(create_app(self._settings), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    def close(self) -> None:
        self.http.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def reset(self) -> None:
        assert self.http.post(f"{self.url}/_sim/reset", timeout=5).ok

    def turn(self, **faults: Any) -> None:
        answer = self.http.put(f"{self.url}/_sim/faults", json=faults, timeout=5)
        assert answer.ok, answer.text

    def get(self, path: str) -> Any:
        return self.http.get(f"{self.url}{path}", timeout=5).json()

    def fired(self, name: str) -> int:
        return int(self.get("/_sim/stats")["fired"].get(name, 0))

    def calls(self, name: str) -> int:
        return int(self.get("/_sim/stats")["calls"].get(name, 0))

    def post(self, params: dict[str, Any], model: str = "kirin_image_omni", **how: Any) -> requests.Response:
        how = {"timeout": 5, "allow_redirects": False, **how}
        return self.http.post(
            f"{self.url}/model/v1/generation", json={"model": model, "input": [{"params": params}]}, **how
        )

    def submit(self, external_id: str, **params: Any) -> requests.Response:
        return self.post({"prompt": "a cat", "external_task_id": external_id, **params})

    def look(self, name: str) -> requests.Response:
        return self.http.get(f"{self.url}/model/v1/generation/task/{name}", timeout=5)

    def ledger(self) -> Any:
        return self.get("/_sim/ledger")

    def created(self, external_id: str) -> int:
        return len(self.get(f"/_sim/tasks?external_task_id={external_id}")["tasks"])

    def bought(self) -> tuple[int, int, str]:
        """Return the number of tasks, of external ids with more than one, and the money spent."""
        totals = self.get("/_sim/ledger?purchases=0")["totals"]
        return totals["tasks"], totals["bought_twice"], totals["spent"]


class StartSimulator(Protocol):
    """The type of the fixture `start` of the simulator's tests."""

    def __call__(self, settings: dict[str, Any] | None = None, **faults: Any) -> Simulator: ...
