"""The command `boomerang`, with click and rich: one module for each group of commands, registered in `app`."""

try:
    from boomerang_client.cli.app import main as main
except ModuleNotFoundError as error:
    if error.name not in ("charset_normalizer", "click", "rich"):
        raise
    raise SystemExit(
        "The command needs more packages: pip install 'charset-normalizer<4' 'click<9' 'openpyxl<3.2' 'rich<16'"
    ) from None
