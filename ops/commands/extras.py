"""Load commands that need an extra of the distribution, and name the extra if it is not installed."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType

import click

#: Extra of pyproject.toml -> the modules that it installs. `local` includes `simulator`.
MODULES: Mapping[str, tuple[str, ...]] = {
    "simulator": ("PIL", "aiohttp", "yarl"),
    "local": ("PIL", "aiohttp", "boomerang_client", "flower", "rich", "tornado", "yarl"),
}
#: How to install each extra from a checkout. Our distributions are not on a package index.
INSTALL: Mapping[str, str] = {
    "simulator": "pip install '.[simulator]'",
    "local": "pip install ./client '.[local]'",
}


class ExtraMissing(click.ClickException):
    """The command needs an extra that is not installed."""

    exit_code = 2


def load(module: str, *, command: str, extra: str) -> ModuleType:
    """Import the module of a command. Raises `ExtraMissing` if its extra is not completely installed."""
    missing = [name for name in MODULES[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"boomerang-server {command} needs the extra {extra!r}, of which these modules are missing: "
            f"{', '.join(missing)}. In a checkout of Boomerang, run: {INSTALL[extra]}"
        )
    return importlib.import_module(module)
