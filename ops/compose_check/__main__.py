"""`python -m ops.compose_check`: run the checks in order."""

import re
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from ops.compose_check import env_file
from ops.compose_check.container_checks import check_containers
from ops.compose_check.fault_checks import (
    check_down_and_up,
    check_engine,
    check_kills,
    check_lost_data,
    check_restarts,
    check_simulator,
)
from ops.compose_check.image_checks import check_build, check_files
from ops.compose_check.own_engine import EngineFailed, run_on_own_engine
from ops.compose_check.ports import free_ports, free_subnet
from ops.compose_check.report import Report
from ops.compose_check.service import Service
from ops.compose_check.session import Session
from ops.compose_check.shell import CommandFailed, Shell, temporary_folder
from ops.compose_check.stack import Stack, copy_checkout
from ops.compose_check.stop_checks import check_logs, check_nothing_to_do, check_scale, check_stop
from ops.compose_check.work_checks import check_commands, check_flower, check_jobs, check_keys
from ops.local.signals import StopRequested, stop_on_signal

#: The Compose file uses `env_file: required` (2.24).
_OLDEST_COMPOSE = (2, 24)
_PREFIX = "boomerang-check"
#: Groups of checks, in the order in which they are made.
NAMES = (
    *("containers", "jobs", "flower", "keys", "commands"),
    *("kill", "restart", "simulator", "engine", "down", "up", "scale", "stop", "logs", "loss"),
)


class CannotRun(click.ClickException):
    """Nothing could be checked."""

    exit_code = 2


class TimeIsUp(Exception):
    """The run exceeded its time limit."""


@click.command()
@click.argument("checkout", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
@click.option("--redis-image", metavar="IMAGE", help="Run both servers from this image instead of the Compose file's.")
@click.option(
    "--own-engine",
    is_flag=True,
    help="Start an engine of its own from Debian's packages (root, Debian 12 or 13; installs what is missing).",
)
@click.option(
    "--engine-folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --own-engine: keep packages and base images in this folder for the next run.",
)
@click.option(
    "--engine-redis",
    default="7.0",
    show_default=True,
    metavar="REDIS",
    help="With --own-engine: the Redis to use; 7.0, 8.0, or a folder with redis-server and redis-cli.",
)
@click.option(
    "--restart-engine",
    default="",
    metavar="COMMAND",
    help="Also check a restart of the engine, by this command. It affects every container of the engine.",
)
@click.option(
    "--limit", default=2400, show_default=True, help="Seconds after which the run is stopped and counts as failed."
)
@click.option(
    "--only", multiple=True, type=click.Choice(NAMES), help="Run only these groups of checks, after build and start."
)
@click.option("--keep", is_flag=True, help="Leave the containers (and the engine) running.")
def main(
    checkout: Path,
    *,
    redis_image: str | None,
    own_engine: bool,
    engine_folder: Path | None,
    engine_redis: str,
    restart_engine: str,
    limit: int,
    only: tuple[str, ...],
    keep: bool,
) -> None:
    """Run docker-compose.yml of CHECKOUT on a real engine, use it as the docs describe, and check the results.

    Everything runs from a copy, under a project name, image names, ports and a subnet of its own, and is removed at the
    end. Exit code 0: every check holds; 1: some do not; 2: nothing could be checked.
    """
    try:
        with stop_on_signal(lambda: None):
            if own_engine:
                if redis_image or restart_engine:
                    raise click.UsageError("--own-engine has --engine-redis, and restarts its engine by itself.")
                chosen = [word for name in only for word in ("--only", name)]
                more = ["--limit", str(limit), *chosen, *(["--keep"] if keep else []), str(checkout.resolve())]
                sys.exit(run_on_own_engine(more, engine_folder, engine_redis, keep=keep))
            sys.exit(_run(checkout.resolve(), redis_image, restart_engine, limit, only, keep=keep))
    except EngineFailed as error:
        raise CannotRun(f"The engine cannot be started: {error}") from None
    except StopRequested as ended:
        sys.exit(ended.exit_code)


def _run(
    checkout: Path, redis_image: str | None, restart_engine: str, limit: int, only: tuple[str, ...], *, keep: bool
) -> int:
    project = f"{_PREFIX}-{secrets.token_hex(3)}"
    report = Report()
    with temporary_folder(f"{project}-", keep=keep) as place:
        folder, log = place / "checkout", place / "log"
        folder.mkdir()
        log.touch(mode=0o600)
        shell = Shell(folder=folder, log=log)
        _refuse_without_engine(shell)
        click.echo(f"project {project}")
        copy_checkout(checkout, folder)
        stack = Stack(project=project, shell=shell, override=place / "override.json", redis_image=redis_image)
        try:
            with _limited(limit):
                _checks(stack, report, restart_engine, only)
        except TimeIsUp:
            report.check(f"the run ends within {limit} s", holds=False, found=stack.not_ready())
        finally:
            if report.failed:
                stack.try_compose("logs", "--no-color", limit=120)
            if keep:
                click.echo(f"\nLeft running, files in {folder}. To remove it: docker compose -p {project} down -v")
            else:
                stack.remove()
        click.echo(f"\n{report.passed} checks passed, {report.failed} failed.")
        if report.failed:
            kept = shutil.copy2(log, Path(tempfile.gettempdir()) / f"{project}.log")
            click.echo(f"Commands, their output and the containers' logs: {kept}")
    return 1 if report.failed else 0


def _refuse_without_engine(shell: Shell) -> None:
    how = "Start Docker, or let this program start an engine of its own: --own-engine (root, Debian 12 or 13)."
    try:
        version = shell.run("docker", "info", "--format", "{{.ServerVersion}}")
        compose = shell.run("docker", "compose", "version", "--short")
    except FileNotFoundError:
        raise CannotRun(f"The command `docker` is not installed. {how}") from None
    except CommandFailed as error:
        raise CannotRun(f"No Docker engine with Compose is reachable: {error} {how}") from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", compose)[:2])
    if numbers < _OLDEST_COMPOSE:
        raise CannotRun(f"Docker Compose is {compose.strip()}; docker-compose.yml needs 2.24 or newer.")
    click.echo(f"Docker {version.strip()}, Compose {compose.strip()}")


def _checks(stack: Stack, report: Report, restart_engine: str, only: Sequence[str]) -> None:
    folder = stack.shell.folder
    webhook, simulator, flower, first, last = free_ports()
    example = (folder / "ops" / "compose.env.example").read_text()
    subnet, gateway = free_subnet()
    chosen = {
        "BOOMERANG_PORT": str(webhook),
        "SIMULATOR_HOST_PORT": str(simulator),
        "FLOWER_HOST_PORT": str(flower),
        "BOOMERANG_SUBNET": subnet,
        "BOOMERANG_TRUSTED_PROXIES": gateway,
    }
    (folder / ".env").write_text(env_file.fill_in(example, chosen))
    env = env_file.read((folder / ".env").read_text())
    service = Service(
        url=f"http://127.0.0.1:{webhook}",
        simulator=f"http://127.0.0.1:{simulator}",
        key=env["BOOMERANG_API_KEYS"].partition(":")[2],
        prefix=stack.project,
    )
    session = Session(stack=stack, service=service, report=report, restart_engine=restart_engine)
    runs = False
    with report.step("docker compose build, and up"):
        check_files(session, example)
        stack.rename_images()
        check_build(session)
        report.section("docker compose up")
        session.up("--build")
        refused = session.commands_refused()
        report.check("no command was refused to any user of Redis in a first start", not refused, refused)
        report.note(f"Redis: {stack.redis('redis', 'info', 'server').partition('redis_version:')[2].split()[0]}")
        runs = True
    if not runs:
        return

    def change_passwords() -> None:
        (folder / ".env").write_text(env_file.new_passwords((folder / ".env").read_text()))

    steps: dict[str, Callable[[], None]] = {
        "containers": lambda: check_containers(session),
        "jobs": lambda: check_jobs(session),
        "flower": lambda: check_flower(session),
        "keys": lambda: check_keys(session),
        "commands": lambda: check_commands(session),
        "kill": lambda: check_kills(session),
        "restart": lambda: check_restarts(session),
        "simulator": lambda: check_simulator(session),
        "engine": lambda: check_engine(session),
        "down": lambda: check_down_and_up(session, change_passwords, "another password for every user of Redis"),
        "up": lambda: check_nothing_to_do(session),
        "scale": lambda: check_scale(session, f"{first}-{last}"),
        "stop": lambda: check_stop(session),
        "logs": lambda: check_logs(session),
        "loss": lambda: check_lost_data(session),
    }
    for name in only or NAMES:
        with report.step(name):
            steps[name]()


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    main()
