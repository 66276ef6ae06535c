"""docker-compose.yml on a real engine: the machine's, or one that the check starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Seconds for the checks, and additional seconds for an engine and its base images.
LIMIT, ENGINE = 2400, 1200


def engine_options() -> list[str]:
    """Return the options of the check on this machine. Skip the test if it cannot run here."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return []
    debian = Path("/etc/os-release").exists() and "ID=debian" in Path("/etc/os-release").read_text().splitlines()
    if os.getuid() != 0 or not debian:
        pytest.skip("no Docker engine answers, and only root on Debian can have one started (--own-engine)")
    return ["--own-engine"]


@pytest.mark.chaos
@pytest.mark.timeout(LIMIT + ENGINE + 300)
def test_the_compose_file_works_as_documented() -> None:
    command = [sys.executable, "-m", "ops.compose_check", "--limit", str(LIMIT), *engine_options(), str(ROOT)]
    # The output is the report: `make chaos` shows it if a check fails.
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
