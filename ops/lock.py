"""Write `requirements.lock`: every package that the project, its client, their tests and their build need, pinned.

Without the address of any registry: it is installed from wherever pip is pointed. `make lock` runs this.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.lock"
OWN = "boomerang-client"
HEADER = "# Pinned for every extra of both distributions; written by `make lock` from their pyproject.toml.\n"


def wanted(root: Path = ROOT) -> list[str]:
    """The requirements of both distributions, of all extras and of the build, our own packages left out."""
    found: set[str] = set()
    for path in (root / "pyproject.toml", root / "client" / "pyproject.toml"):
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        project = data["project"]
        found.update(data["build-system"]["requires"], project["dependencies"])
        for extra in project.get("optional-dependencies", {}).values():
            found.update(extra)
    # An editable install without build isolation wants this one of hatchling too.
    found.add("editables")
    return sorted(each for each in found if not each.startswith(OWN))


def main() -> None:
    """Resolve anew, and replace the lock."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "wanted.in"), Path(folder, "result.txt")
        source.write_text("\n".join(wanted()) + "\n", encoding="utf-8")
        subprocess.run(  # noqa: S603 - our own command
            [
                *(sys.executable, "-m", "piptools", "compile", "--quiet", "--upgrade", "--strip-extras"),
                *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-trusted-host"),
                *("--no-emit-find-links", "--no-emit-options", "--allow-unsafe", "--output-file", str(result)),
                str(source),
            ],
            check=True,
        )
        pins = result.read_text(encoding="utf-8").splitlines()
    # The environment's own pip installs the rest, and had better not replace itself meanwhile.
    kept = sorted(line for line in pins if "==" in line and not line.startswith("pip=="))
    LOCK.write_text(HEADER + "\n".join(kept) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
