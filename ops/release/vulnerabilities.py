"""Compare the locked packages with the advisory database, if it can be reached (pip-audit). `make lint` runs this."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.release.lock import LOCK

#: A release that has had advisories for years (pip-audit does not check the hash). If none is reported for it, the
#: package index in use is a mirror without advisories, and its answer about the lock means nothing.
KNOWN = f"jinja2==2.4.1 --hash=sha256:{'0' * 64}\n"
Report = Sequence[Mapping[str, Any]]


class Unreachable(Exception):
    """The advisory database did not answer for every package."""


def ask(requirements: Path) -> Report:
    """Return pip-audit's report on each package. Raises `Unreachable`."""
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
    """Return the advisories about packages of the lock, one line each. Raises `Unreachable`."""
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "known.txt")
        known.write_text(KNOWN, encoding="utf-8")
        if not any(each.get("vulns") for each in asked(known)):
            raise Unreachable("the package index in use has no advisories")
    return [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in asked(lock)
        for hole in each.get("vulns", ())
    ]


def main() -> None:
    """Exit with the advisories that were found. If the database cannot be reached, say that the check was skipped."""
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
