"""Every command of the tutorial runs, in an empty folder, on the stack that `make up` starts."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from boomerang_client import Client, Status
from tests.support.local_stack import StartStack

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PRODUCTS = ROOT / "examples" / "products"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """An empty folder with the files that the commands expect of a checkout."""
    folder = tmp_path / "checkout"
    (folder / ".venv").mkdir(parents=True)
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def test_the_first_command_starts_the_local_stack() -> None:
    assert BLOCKS[0] == "make up\n"
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "up"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-2:] == [".venv/bin/boomerang-server", "up"]


def test_the_commands_make_an_image_of_every_product(checkout: Path, tmp_path: Path, start: StartStack) -> None:
    server = start("data", "--no-flower", "--sim", "--latency 0.2")
    (checkout / ".boomerang").symlink_to(server.folder)
    home = tmp_path / "home"
    home.mkdir()
    script = "".join(BLOCKS[1:])
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=checkout,
        env={**os.environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # The page shows the commands' actual output.
    shown_blocks = re.findall(r"```(?:text|json)\n(.*?)```", PAGE, re.DOTALL)
    printed = done.stdout.splitlines()
    assert len(shown_blocks) >= 4
    assert [line for block in shown_blocks for line in block.splitlines() if line not in printed] == []

    with (PRODUCTS / "products.csv").open(newline="", encoding="utf-8") as file:
        skus = [row["SKU"] for row in csv.DictReader(file)]
    assert len(skus) == 20
    saved = {path.name for path in (home / "shop" / "images").iterdir()}
    assert saved == {f"product-{sku}-1.png" for sku in skus}
    for name in saved:
        with Image.open(home / "shop" / "images" / name) as image:
            image.verify()
    with Client(server.url, server.key) as client:
        assert client.batch("products").counts[Status.COMPLETED] == 20
        assert client.spend().jobs == 20


def test_the_example_is_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (PRODUCTS / "photos").iterdir()}
    assert {name for name, size in sizes.items() if size > 60_000} == set()
