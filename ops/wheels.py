"""Build both wheels and hold what is in them to what is meant to be: `make lint` runs this.

Two wheels that ship the same folder overwrite each other in silence, and a folder that a build backend drops is missed
only where it is installed: hence an exact list.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: project folder → exact top-level names of its wheel, its metadata apart
MEANT = {
    ROOT: frozenset({"schemas", "jobs", "worker", "webhook", "ops"}),
    ROOT / "client": frozenset({"boomerang_client"}),
}
#: files that a wheel must not ship, and kinds of file that it must not lose
NEVER = ("__pycache__", ".pyc", "/tests/")
KINDS = (".py", ".lua", ".typed", ".html", ".css", ".js", ".jsonl", ".png", ".jpg")


def build(project: Path, folder: Path) -> Path:
    """The project's wheel, built into `folder` with the tools at hand (nothing is downloaded)."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    if done.returncode:
        raise SystemExit(f"the wheel of {project} cannot be built:\n{done.stdout}{done.stderr}")
    return next(folder.glob("*.whl"))


def problems(wheel: Path, project: Path, meant: frozenset[str]) -> list[str]:
    """What is wrong with the wheel, a line each."""
    names = [name for name in zipfile.ZipFile(wheel).namelist() if not name.split("/")[0].endswith(".dist-info")]
    top = {name.split("/")[0] for name in names}
    found = [f"ships {name}, which is not meant to be shipped" for name in sorted(top - meant)]
    found += [f"lacks {name}" for name in sorted(meant - top)]
    found += [f"ships {name}" for name in names if any(bad in f"/{name}" for bad in NEVER)]
    files = {
        str(path.relative_to(project))
        for room in meant
        for path in (project / room).rglob("*")
        if path.suffix in KINDS and not any(bad in f"/{path}" for bad in NEVER)
    }
    return found + [f"lost {name}" for name in sorted(files - set(names))]


def main() -> None:
    """Exit with the list of problems, or say that there are none."""
    wrong = []
    for project, meant in MEANT.items():
        with tempfile.TemporaryDirectory() as folder:
            wheel = build(project, Path(folder))
            wrong += [f"{wheel.name} {problem}" for problem in problems(wheel, project, meant)]
    if wrong:
        raise SystemExit("\n".join(wrong))
    sys.stdout.write("Both wheels hold exactly what they are meant to.\n")


if __name__ == "__main__":
    main()
