import json
from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ASSETS = Path(__file__).resolve().parents[2] / "ops" / "assets"


@pytest.fixture(scope="session")
def assets() -> Path:
    return ASSETS


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    lines = (ASSETS / "parti-prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["prompt"] for line in lines]


@pytest.fixture(scope="session")
def photograph() -> Callable[[str], str]:
    """A picture of the assets as raw base64."""
    return lambda name: b64encode((ASSETS / "images" / name).read_bytes()).decode("ascii")


@pytest.fixture(scope="session")
def drawn() -> Callable[..., str]:
    """A picture of a given size and format as raw base64."""

    def draw(width: int = 300, height: int = 300, kind: str = "PNG", **options: Any) -> str:
        buffer = BytesIO()
        Image.new("RGB", (width, height), "teal").save(buffer, kind, **options)
        return b64encode(buffer.getvalue()).decode("ascii")

    return draw
