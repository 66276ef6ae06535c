"""Where a producer may be notified: ports and hosts of its `callback_url`s."""

from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
#: The entry of a list of hosts that stands for every host.
ANY_HOST = "*"


@dataclass(frozen=True, slots=True)
class CallbackRules:
    """`ports`: None allows any. `hosts`: names, `*.` and a name for all below it, or `*`; None allows any."""

    ports: tuple[int, ...] | None = None
    hosts: tuple[str, ...] | None = None

    def problem(self, url: str) -> str | None:
        """Return why a valid URL is not allowed and what to do, or None."""
        parts = urlsplit(url)
        port, host = parts.port or _PORTS[parts.scheme], (parts.hostname or "").removesuffix(".")
        if self.ports is not None and port not in self.ports:
            ports = ", ".join(map(str, sorted(self.ports)))
            return f"has the port {port}; use one of {ports}, or have the operator allow it (BOOMERANG_CALLBACK_PORTS)"
        if self.hosts is not None and not any(_matches(host, allowed) for allowed in self.hosts):
            hosts = ", ".join(self.hosts)
            return f"has the host {host[:80]}; your key may be notified at {hosts} (callback_hosts)"
        return None


def _matches(host: str, allowed: str) -> bool:
    allowed = allowed.strip("[]")
    return allowed in (ANY_HOST, host) or (allowed.startswith("*.") and host.endswith(allowed[1:]))


ANYWHERE = CallbackRules()
#: The rules of the request that is validated.
CALLBACK_RULES: ContextVar[CallbackRules] = ContextVar("CALLBACK_RULES", default=ANYWHERE)
