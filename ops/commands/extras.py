"""Commands that need more than the bare service: which extra each needs, and what to say where it is missing."""

import importlib
import importlib.util
from collections.abc import Mapping
from types import ModuleType

import click

#: Extra of pyproject.toml -> modules that it brings; `local` includes `simulator`.
MODULES: Mapping[str, tuple[str, ...]] = {
    "simulator": ("aiohttp", "yarl"),
    "local": ("aiohttp", "boomerang_client", "flower", "jinja2", "rich", "tornado", "yarl"),
}
#: How to install each, from a checkout: no distribution of ours is on a package index.
INSTALL: Mapping[str, str] = {
    "simulator": "pip install '.[simulator]'",
    "local": "pip install ./client '.[local]'",
}


class ExtraMissing(click.ClickException):
    """A command needs an extra that is not installed."""

    exit_code = 2


def load(module: str, *, command: str, extra: str) -> ModuleType:
    """Import what carries out a command. Raises `ExtraMissing` where its extra is not, or not wholly, installed."""
    missing = [name for name in MODULES[extra] if importlib.util.find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"boomerang-server {command} needs the extra {extra!r} ({', '.join(missing)} not installed): "
            f"in a checkout of Boomerang, run: {INSTALL[extra]}"
        )
    return importlib.import_module(module)
