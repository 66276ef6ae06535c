"""Where the application keeps what its handlers share."""

from collections.abc import Callable

from aiohttp import web

from ops.simulator.provider import Provider

PROVIDER: web.AppKey[Provider] = web.AppKey("provider", Provider)
#: closes the listening socket for so many seconds; set by whoever listens
LISTENER: web.AppKey[Callable[[float], None]] = web.AppKey("listener")
