"""Keys of the objects that the handlers of the aiohttp application share."""

from collections.abc import Callable

from aiohttp import web

from ops.simulator.provider import Provider

PROVIDER: web.AppKey[Provider] = web.AppKey("provider", Provider)
#: Closes the listening socket for a number of seconds. Set by `serving`, absent in tests.
LISTENER: web.AppKey[Callable[[float], None]] = web.AppKey("listener")
