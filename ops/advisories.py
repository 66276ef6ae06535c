"""Hold the lock to the least versions that are not known to be unsafe: `make lint` runs this.

It asks nobody, so it also runs where there is no network, and knows what stands here; `pip-audit -r requirements.lock`,
where the network allows it, knows the rest. A row is added when an advisory concerns what we do with a package.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ops.lock import LOCK

#: package → (least version, what was wrong before).
LEAST: Mapping[str, tuple[str, str]] = {
    "aiohttp": ("3.12.14", "CVE-2025-53643: request smuggling by trailers"),
    "celery": ("5.2.2", "CVE-2021-23727: commands run by what stands in the result backend"),
    "certifi": ("2024.7.4", "CVE-2024-39689: roots that are distrusted"),
    "flask": ("3.1.1", "CVE-2025-47278: fallback keys sign in the wrong order"),
    "flower": ("2.2.0", "CVE-2022-51020: CSRF; CVE-2022-30034: its OAuth could be passed by"),
    "gunicorn": ("22.0.0", "CVE-2024-1135, CVE-2024-6827: request smuggling by Transfer-Encoding"),
    "idna": ("3.7", "CVE-2024-3651: time without bound for a crafted name"),
    "jinja2": ("3.1.6", "CVE-2025-27516: out of the sandbox"),
    "marshmallow": ("4.1.2", "CVE-2025-68480: load(many=True) of crafted data takes the processor"),
    "pillow": ("12.3", "CVE-2026-40192 and its like: small files of rare formats that unpack without bound"),
    "redis": ("4.5.4", "CVE-2023-28858: another caller's answer after a cancelled command"),
    "requests": (
        "2.32.4",
        "CVE-2024-47081: the .netrc's password for another host; CVE-2024-35195: TLS stays unverified",
    ),
    "setuptools": ("78.1.1", "CVE-2025-47273: writes outside of its folder"),
    "tornado": ("6.5", "CVE-2025-47287: logs without bound by multipart bodies"),
    "urllib3": (
        "2.6.3",
        "CVE-2025-66418, CVE-2025-66471, CVE-2026-21441: answers that unpack without bound",
    ),
    "werkzeug": ("3.1.4", "CVE-2025-66221: device names of Windows hang; CVE-2024-49767: multipart bodies take memory"),
}


def pins(lock: Path = LOCK) -> dict[str, str]:
    """Every package of the lock, and its version."""
    return dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def problems(pinned: Mapping[str, str], least: Mapping[str, tuple[str, str]] = LEAST) -> list[str]:
    """What is pinned below its least version, or not there any more, a line each."""
    found = []
    for name, (version, why) in least.items():
        if name not in pinned:
            found.append(f"{name} is not in the lock any more: take its row out of ops/advisories.py")
        elif _numbers(pinned[name]) < _numbers(version):
            found.append(f"{name} {pinned[name]} is older than {version}: {why}")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """Of a release; what stands behind it (`rc1`, `.post0`) is left out."""
    release = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def main() -> None:
    """Exit with the list of problems, or say that there are none."""
    if wrong := problems(pins()):
        raise SystemExit("\n".join(wrong))
    sys.stdout.write(f"None of {len(LEAST)} packages is pinned to a version that is known to be unsafe.\n")


if __name__ == "__main__":
    main()
