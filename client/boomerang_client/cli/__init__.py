"""The command `boomerang`, with click and rich: one module for each group of commands, registered in `app`."""

try:
    from boomerang_client.cli.app import main as main
except ModuleNotFoundError as error:
    if error.name not in ("click", "rich"):
        raise
    raise SystemExit("The command needs click and rich: pip install 'click<9' 'rich<16'") from None
