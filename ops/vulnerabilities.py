"""Ask the advisory database about every locked package, where a network allows it. `make lint` runs this."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ops.lock import LOCK


def main() -> None:
    """Exit with what pip-audit found. Say that it was skipped where the database cannot be reached."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
        command += ["--progress-spinner", "off", "--format", "json", "--output", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
        # It writes a report once it has an answer for every package, and ends with 1 for a finding and for a failure.
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    if not text:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        sys.stdout.write(f"Skipped: the advisory database cannot be reached ({reason}).\n")
        return
    packages = json.loads(text)["dependencies"]
    found = [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in packages
        for hole in each.get("vulns", ())
    ]
    if found:
        raise SystemExit("\n".join(found))
    sys.stdout.write(f"No advisory concerns any of the {len(packages)} locked packages.\n")


if __name__ == "__main__":
    main()
