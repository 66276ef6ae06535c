"""docker-compose.yml on a real engine: the machine's own, or one that is started for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Seconds for the checks, and for an engine and its base images on top.
LIMIT, ENGINE = 2400, 1200


def engine_options() -> list[str]:
    """How the check is run on this machine; skips where it cannot be."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return []
    debian = Path("/etc/os-release").exists() and "ID=debian" in Path("/etc/os-release").read_text().splitlines()
    if os.getuid() != 0 or not debian:
        pytest.skip("no Docker engine answers, and only root on Debian can have one started (--own-engine)")
    return ["--own-engine"]


@pytest.mark.chaos
@pytest.mark.timeout(LIMIT + ENGINE + 300)
def test_the_compose_file_does_what_the_docs_say() -> None:
    command = [sys.executable, "-m", "ops.compose_check", "--limit", str(LIMIT), *engine_options(), str(ROOT)]
    # Its lines are the report: `make chaos` shows them where a check fails.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
