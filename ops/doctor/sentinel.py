"""Whether Sentinel could replace the primary, and whether the primary stops when it is replaced unseen."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis

from jobs.connections.sentinel import Watched
from ops.doctor.check import Finding, bad, ok, warning

#: So many that one machine may go and two still agree.
ENOUGH = 3


def look_at_sentinels(variable: str, url: str) -> Iterator[Finding]:
    """Whether those that the URL names answer, agree, and are enough to choose another primary."""
    about = f"{variable}: sentinels"
    watched = Watched.from_url(url)
    named: set[str] = set()
    troubles: set[str] = set()
    silent = 0
    for client in watched.clients():
        try:
            ask: Callable[..., Any] = client.execute_command
            address = ask("SENTINEL GET-MASTER-ADDR-BY-NAME", watched.master)
            named.add(":".join(map(str, address)) if address else "nobody")
            ask("SENTINEL CKQUORUM", watched.master)
        except redis.ResponseError as error:
            troubles.add(str(error))
        except redis.RedisError:
            silent += 1
        finally:
            client.close()
    many = len(watched.sentinels)
    if silent:
        told = bad if silent == many else warning
        yield told(about, f"{silent} of {many} do not answer", f"Start them, or correct {variable}.")
    if len(named) > 1:
        yield bad(about, f"name different primaries: {', '.join(sorted(named))}", "Are they of one set, and connected?")
    for trouble in sorted(troubles):
        do = "Start the sentinels that are missing, and see that they reach one another."
        yield bad(about, f"could not choose another primary: {trouble}", do)
    if many < ENOUGH:
        do = "Name all of them, three at least, each on a machine of its own."
        yield warning(about, f"{variable} names {many}: without it nobody finds the primary", do)
    elif not silent and len(named) == 1 and not troubles:
        yield ok(about, f"{many} answer, agree, and can choose another primary")


def judge_replicas(variable: str, info: Mapping[str, Any], *, state: bool) -> Iterator[Finding]:
    """What INFO says of replicas, of a primary that Sentinel watches."""
    about = f"{variable}: replicas"
    many = int(info.get("connected_slaves", 0))
    # Redis tells how many are good only where it is asked to count them.
    good = info.get("min_slaves_good_slaves")
    if not many:
        yield bad(about, "none follows: nobody could take over", "Start one, and look at its log.")
    elif state and good is None:
        do = "Set min-replicas-to-write 1: a primary that is cut off goes on handing out jobs, as its successor does."
        yield warning(about, "min-replicas-to-write is not set", do)
    else:
        yield ok(about, f"{many if good is None else good} follow")
