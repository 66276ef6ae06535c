import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import drawing
from tests.support.drawing import DrawBase64

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
    """`photograph("rocket.jpg")`: an image of the assets as raw base64."""
    return lambda name: b64encode((ASSETS / "images" / name).read_bytes()).decode("ascii")


@pytest.fixture(scope="session")
def base64_image() -> DrawBase64:
    """`base64_image(300, 400, "JPEG")`: an image of this size and format as raw base64."""

    def draw(width: int = 300, height: int = 300, kind: str = "PNG", colour: str = "teal", **options: Any) -> str:
        return b64encode(drawing.drawn(width, height, kind, colour, **options)).decode("ascii")

    return draw
