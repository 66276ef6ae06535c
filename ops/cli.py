"""The command `boomerang-server`."""

import click

from ops.commands import simulate
from ops.commands.audit import audit_command
from ops.commands.help_text import examples
from ops.commands.keys import keys
from ops.commands.limits import lanes
from ops.commands.local import demo, up
from ops.commands.notices import test_notice
from ops.commands.recover import recover
from ops.commands.results import results
from ops.commands.save import save
from ops.commands.settle import redeliver, settle
from ops.commands.settle_cost import settle_cost
from ops.commands.store import Commands
from ops.commands.stuck import stuck
from ops.doctor.command import doctor


@click.group(
    cls=Commands,
    epilog=examples("boomerang-server demo", "boomerang-server up", "boomerang-server doctor --data .boomerang"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="boomerang-jobs", prog_name="boomerang-server")
def main() -> None:
    """Run Boomerang on this machine, check it, and operate it."""


main.add_command(up)
main.add_command(demo)
main.add_command(simulate.find())
main.add_command(audit_command)
main.add_command(doctor)
main.add_command(keys)
main.add_command(lanes)
main.add_command(recover)
main.add_command(stuck)
main.add_command(settle)
main.add_command(settle_cost)
main.add_command(redeliver)
main.add_command(results)
main.add_command(save)
main.add_command(test_notice)

if __name__ == "__main__":
    main(prog_name="boomerang-server")
