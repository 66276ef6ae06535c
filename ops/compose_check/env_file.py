"""The file .env, completed as its example describes."""

import re
import secrets
from collections.abc import Mapping

#: The example has these commented out, for the simulated provider.
_SIMULATED = re.compile(
    r"#((?:BOOMERANG_PROVIDER_URL|BOOMERANG_PROVIDER_KEY|BOOMERANG_PUBLIC_URL|BOOMERANG_ALLOW_PRIVATE_HOSTS)=.+)"
)
_EMPTY = re.compile(r"(\w+)=")
#: Secrets with a name before them.
_NAMED = {"BOOMERANG_API_KEYS": "shop:", "BOOMERANG_ADMIN_KEYS": "boss:", "FLOWER_BASIC_AUTH": "looker:"}
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN")


def fill_in(example: str, more: Mapping[str, str]) -> str:
    """Return the example with the simulator's lines enabled, all secrets filled in, and `more` at the end."""
    return "\n".join([*map(_filled, example.splitlines()), *(f"{name}={value}" for name, value in more.items()), ""])


def _filled(line: str) -> str:
    if found := _SIMULATED.fullmatch(line):
        return found[1]
    if (found := _EMPTY.fullmatch(line)) and (found[1] in _NAMED or _SECRET.search(found[1])):
        return f"{line}{_NAMED.get(found[1], '')}{secrets.token_urlsafe(32)}"
    return line


def read(text: str) -> dict[str, str]:
    """Return the variables. The last value of a name counts, as for Compose."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {name: value for name, _, value in pairs if name}


def replace(text: str, name: str, value: str) -> str:
    """Return the text with another value of a variable."""
    return "\n".join([*(line for line in text.splitlines() if not line.startswith(f"{name}=")), f"{name}={value}", ""])


def new_passwords(text: str) -> str:
    """Return the text with another password for each Redis user."""
    return re.sub(r"(?m)^(\w*PASSWORD\w*)=.*", lambda found: f"{found[1]}={secrets.token_urlsafe(32)}", text)


def secret_values(values: Mapping[str, str]) -> dict[str, str]:
    """Return the secrets, which must not be in any log, by name."""
    named = {name: value for name, value in values.items() if value and (name in _NAMED or _SECRET.search(name))}
    return {name: value.rpartition(":")[2] for name, value in named.items()}
