"""The containers of one Compose project. This program touches nothing else."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ops.compose_check.shell import CommandFailed, Done, Shell, wait_until

#: Services that only exist with a profile: the simulated provider, and the operator's container.
PROFILES = ("--profile", "simulator")
SERVERS = ("redis", "broker")
#: In a container: the password of the user `operator` of the Redis server that runs there.
_REDIS_CLI = (
    'export REDISCLI_AUTH="$(env | sed -n "s/^BOOMERANG_.*PASSWORD_OPERATOR=//p" | head -1)"; '
    'redis-cli --no-auth-warning --user operator "$@"'
)


@dataclass(frozen=True, kw_only=True)
class Container:
    """One container, as `docker inspect` shows it."""

    service: str
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def id(self) -> str:
        return str(self.raw["Id"])

    @property
    def started(self) -> str:
        """The time of its last start."""
        return str(self.raw["State"]["StartedAt"])

    @property
    def ready(self) -> bool:
        """Whether it runs and, if it has a health check, is healthy."""
        state = self.raw["State"]
        return bool(state["Running"]) and state.get("Health", {}).get("Status", "healthy") == "healthy"

    @property
    def exit_code(self) -> int:
        return int(self.raw["State"]["ExitCode"])

    @property
    def ports(self) -> list[int]:
        """The current ports on the host."""
        published = self.raw["NetworkSettings"]["Ports"] or {}
        return [int(each["HostPort"]) for bindings in published.values() for each in bindings or ()]

    @property
    def host(self) -> Mapping[str, Any]:
        """Its limits, ports and rights."""
        found: Mapping[str, Any] = self.raw["HostConfig"]
        return found


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A copy of the checkout in `shell.folder`, run as a separate Compose project."""

    project: str
    shell: Shell
    override: Path
    redis_image: str | None = None

    def try_compose(self, *words: str, limit: float = 120) -> Done:
        """Run `docker compose` and return its result, whatever its exit code."""
        files = ["-f", "docker-compose.yml"]
        if self.override.exists():
            files += ["-f", str(self.override)]
        return self.shell.try_("docker", "compose", *files, "-p", self.project, *PROFILES, *words, limit=limit)

    def compose(self, *words: str, limit: float = 120) -> str:
        """Run `docker compose` and return its standard output. Raises CommandFailed."""
        done = self.try_compose(*words, limit=limit)
        if done.code != 0:
            end = " ".join(done.err.strip().splitlines()[-3:])
            raise CommandFailed(f"docker compose {' '.join(words)} ended with exit code {done.code}: {end}")
        return done.out

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Return the Compose file with .env and the override applied."""
        found: Mapping[str, Any] = json.loads(self.compose("--profile", "tools", "config", "--format", "json"))
        return found

    @property
    def services(self) -> Mapping[str, Any]:
        """The services that `up` starts."""
        return {name: each for name, each in self.config["services"].items() if "tools" not in each.get("profiles", ())}

    def rename_images(self) -> None:
        """Give the images names of this project, so that the user's image `boomerang` is not replaced."""
        services = self.config["services"]
        # Read again with the override, which has other names.
        del self.__dict__["config"]
        self.override.write_text(json.dumps({"services": dict(self._renamed(services))}))

    def _renamed(self, services: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
        for name, each in services.items():
            image = each.get("image", "")
            if image.startswith("redis:"):
                if self.redis_image:
                    yield name, {"image": self.redis_image}
            else:
                yield name, {"image": f"{self.project}-{(image or name).split(':')[0].rpartition('/')[2]}"}

    @property
    def images(self) -> set[str]:
        """The names of the images that are built."""
        return {each["image"] for each in self.config["services"].values() if each["image"].startswith(self.project)}

    def containers(self, *services: str) -> list[Container]:
        """Return the containers of these services, also ended ones, without one-off commands."""
        label = "com.docker.compose"
        found = self.shell.run(
            "docker", "ps", "-aq", "--no-trunc",
            "--filter", f"label={label}.project={self.project}", "--filter", f"label={label}.oneoff=False",
        ).split()  # fmt: skip
        if not found:
            return []
        shown = json.loads(self.shell.run("docker", "inspect", *found))
        each = (Container(service=raw["Config"]["Labels"][f"{label}.service"], raw=raw) for raw in shown)
        return sorted(
            (one for one in each if not services or one.service in services), key=lambda one: (one.service, one.id)
        )

    def wait_ready(self, count: int, limit: float = 240) -> float | None:
        """Wait until this many containers are healthy. Returns the seconds it took, or None."""
        return wait_until(lambda: sum(each.ready for each in self.containers()) >= count, limit)

    def not_ready(self) -> str:
        """Return the services that do not run or are not healthy."""
        there = self.containers()
        bad = {f"{one.service} {one.raw['State']['Status']}" for one in there if not one.ready}
        missing = {f"{name} missing" for name in self.services if name not in {one.service for one in there}}
        return ", ".join(sorted(bad | missing))

    def exec(self, service: str, *argv: str, limit: float = 60) -> Done:
        """Run a command in a service's container."""
        return self.try_compose("exec", "-T", service, *argv, limit=limit)

    def operator(self, *words: str, limit: float = 120) -> Done:
        """Run a `boomerang-server` command as docs/guides/containers.md describes."""
        return self.try_compose("run", "--rm", "-T", "operator", *words, limit=limit)

    def redis(self, server: str, *words: str) -> str:
        """Run redis-cli as the operator. Raises CommandFailed."""
        done = self.exec(server, "sh", "-c", _REDIS_CLI, "redis-cli", *words)
        if done.code != 0 or done.out.startswith(("NOAUTH", "NOPERM", "WRONGPASS", "ERR", "AUTH failed")):
            raise CommandFailed(f"redis-cli {' '.join(words)} at {server}: {(done.err + done.out).strip()}")
        return done.out

    def kill(self, *services: str) -> None:
        """Kill -9 every process in the services' containers, as running out of memory would.

        `docker kill` would not do: Docker takes that for a wish, and does not start the container again.
        """
        for service in services:
            self.exec(service, "sh", "-c", "kill -9 -1")

    def logs(self, container: Container) -> list[str]:
        """Return all lines that a container has logged."""
        done = self.shell.try_("docker", "logs", container.id)
        return [line for line in (done.out + done.err).splitlines() if line.strip()]

    def remove(self) -> None:
        """Remove the project: containers, networks, volumes and images."""
        self.try_compose("--profile", "tools", "down", "--volumes", "--remove-orphans", "--timeout", "10", limit=180)
        # By label, because a faulty build may leave an image without a name.
        label = f"label=com.docker.compose.project={self.project}"
        made = self.shell.try_("docker", "images", "-q", "--filter", label).out.split()
        if made:
            self.shell.try_("docker", "rmi", "-f", *dict.fromkeys(made), limit=120)


def copy_checkout(source: Path, target: Path) -> None:
    """Copy all files that git does not ignore, with their current contents."""
    listed = subprocess.run(  # noqa: S603 - our own command
        ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


def service_names(containers: Sequence[Container]) -> str:
    """Join the services of these containers, for a line of the report."""
    return ", ".join(dict.fromkeys(each.service for each in containers))
