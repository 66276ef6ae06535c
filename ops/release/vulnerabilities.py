"""Ask the advisory database about every locked package, where a network allows it. `make lint` runs this."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.release.lock import LOCK

#: A release with advisories of many years (pip-audit does not look at the hash). A mirror that serves packages without
#: advisories has none for it either, and would find every lock safe.
KNOWN = f"jinja2==2.4.1 --hash=sha256:{'0' * 64}\n"
Report = Sequence[Mapping[str, Any]]


class Unreachable(Exception):
    """There is no answer for each package."""


def ask(requirements: Path) -> Report:
    """What pip-audit says of each package. Raises `Unreachable`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--require-hashes"]
        command += ["--disable-pip", "--progress-spinner", "off", "--format", "json", "--output", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        # Its exit code is 1 for a finding and for a failure. Only where it has all answers does it write the report.
        if not report.exists() or not (text := report.read_text(encoding="utf-8")):
            raise Unreachable((done.stderr.strip().splitlines() or ["no reason given"])[-1])
    packages: Report = json.loads(text)["dependencies"]
    return packages


def findings(lock: Path = LOCK, asked: Callable[[Path], Report] = ask) -> list[str]:
    """The advisories about packages of the lock, a line each. Raises `Unreachable`."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(KNOWN, encoding="utf-8")
        if not any(each.get("vulns") for each in asked(known)):
            raise Unreachable("the package index in use passes on no advisories")
    return [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in asked(lock)
        for hole in each.get("vulns", ())
    ]


def main() -> None:
    """Exit with the advisories that were found. Say that the check was skipped where nobody can be asked."""
    try:
        found = findings()
    except Unreachable as error:
        sys.stdout.write(f"Skipped: the locked packages were not compared with advisories ({error}).\n")
        return
    if found:
        raise SystemExit("\n".join(found))
    sys.stdout.write("No advisory concerns a locked package.\n")


if __name__ == "__main__":
    main()
