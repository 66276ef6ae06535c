"""Write a CycloneDX list of an environment: each package with its licence, and the hash of the installed file.

The image's build runs it by path, with the tools of locks/build.lock, after pip has written a report of each
installation: `python sbom.py ENVIRONMENT REPORT...` writes ENVIRONMENT/sbom.cdx.json.
"""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname


def list_packages(environment: Path) -> dict[str, Any]:
    """Return the list that cyclonedx-py makes of a virtual environment."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--of", "JSON"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, str(environment / "bin" / "python")], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def installed_hashes(reports: Iterable[Path]) -> dict[str, str]:
    """Return the SHA-256 of the file that each package was installed from, from pip's reports (`pip --report`)."""
    return {
        _canonical(each["metadata"]["name"]): _sha256(each["download_info"])
        for report in reports
        for each in json.loads(report.read_text(encoding="utf-8"))["install"]
    }


def add_hashes(listed: dict[str, Any], hashes: Mapping[str, str]) -> None:
    """Give each component its hash. Raises KeyError for a component whose origin pip did not report."""
    for component in listed.get("components", ()):
        component["hashes"] = [{"alg": "SHA-256", "content": hashes[_canonical(component["name"])]}]


def main(environment: str, *reports: str) -> None:
    """Write the list into the environment."""
    folder = Path(environment)
    listed = list_packages(folder)
    add_hashes(listed, installed_hashes(map(Path, reports)))
    (folder / "sbom.cdx.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")


def _sha256(download: Mapping[str, Any]) -> str:
    # pip does not report the hash of a local file, such as our own wheel.
    if download["url"].startswith("file:") and "hashes" not in download["archive_info"]:
        return hashlib.sha256(Path(url2pathname(urlsplit(download["url"]).path)).read_bytes()).hexdigest()
    found: str = download["archive_info"]["hashes"]["sha256"]
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(*sys.argv[1:])
