"""Generation requests for the client's tests."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

REQUEST: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "A red boat"}
#: One that is accepted, one that is refused, one that fails later.
LINES: list[dict[str, Any]] = [REQUEST, {"n": 0}, REQUEST | {"prompt": "please fail"}]


def ndjson(lines: Iterable[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()
