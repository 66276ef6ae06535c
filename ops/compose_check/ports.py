"""Find unused ports and networks."""

import ipaddress
import random
import socket
from contextlib import ExitStack

#: Three ports that are published, then the first and last of a range of so many.
_RANGE = 6
#: Ephemeral ports begin above these on Linux, so that no connection takes one in between.
_PORTS = range(18000, 28000)
_SUBNETS = ipaddress.ip_network("10.214.0.0/15")


def free_ports() -> tuple[int, int, int, int, int]:
    """Return three free ports, and the first and last port of a free range."""
    for _ in range(100):
        first = random.choice(_PORTS)  # noqa: S311 - no secret
        if _all_free(range(first, first + 3 + _RANGE)):
            return first, first + 1, first + 2, first + 3, first + 2 + _RANGE
    raise OSError(f"no {3 + _RANGE} free ports side by side between {_PORTS.start} and {_PORTS.stop}")


def free_subnet() -> tuple[str, str]:
    """Return an unused private network, and the address of its gateway."""
    chosen = random.choice([*_SUBNETS.subnets(new_prefix=24)])  # noqa: S311 - no secret
    return str(chosen), str(chosen[1])


def _all_free(ports: range) -> bool:
    with ExitStack() as held:
        try:
            for port in ports:
                held.enter_context(socket.socket()).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
