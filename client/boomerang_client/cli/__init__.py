"""The `boomerang` command, on click and rich: one module per group of commands, registered in `app`."""

from boomerang_client.cli.app import main as main
