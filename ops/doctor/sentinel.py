"""Check that Sentinel can replace the primary, and that a primary which is cut off stops accepting writes."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import redis

from jobs.connections.sentinel import Watched
from ops.doctor.check import Finding, bad, ok, warning

#: With three, one may fail and the other two are still a majority.
ENOUGH = 3


def check_sentinels(variable: str, url: str) -> Iterator[Finding]:
    """Check that the sentinels in the URL answer, agree, and can choose another primary."""
    subject = f"{variable}: sentinels"
    watched = Watched.from_url(url)
    named: set[str] = set()
    errors: set[str] = set()
    silent = 0
    for client in watched.clients():
        try:
            ask: Callable[..., Any] = client.execute_command
            address = ask("SENTINEL GET-MASTER-ADDR-BY-NAME", watched.master)
            named.add(":".join(map(str, address)) if address else "none")
            ask("SENTINEL CKQUORUM", watched.master)
        except redis.ResponseError as error:
            errors.add(str(error))
        except redis.RedisError:
            silent += 1
        finally:
            client.close()
    many = len(watched.sentinels)
    if silent:
        level = bad if silent == many else warning
        yield level(subject, f"{silent} of {many} do not answer", f"Start them, or correct {variable}.")
    if len(named) > 1:
        yield bad(
            subject,
            f"name different primaries: {', '.join(sorted(named))}",
            "Check that they belong to one set and reach one another.",
        )
    for text in sorted(errors):
        remedy = "Start the missing sentinels, and check that they reach one another."
        yield bad(subject, f"cannot choose another primary: {text}", remedy)
    if many < ENOUGH:
        remedy = "Name all sentinels, at least three, each on its own machine."
        yield warning(subject, f"{variable} names only {many}: if it fails, the primary is not found", remedy)
    elif not silent and len(named) == 1 and not errors:
        yield ok(subject, f"{many} answer, agree, and can choose another primary")


def check_replicas(variable: str, info: Mapping[str, Any], *, state: bool) -> Iterator[Finding]:
    """Check the replicas of a primary that Sentinel watches, by its INFO."""
    subject = f"{variable}: replicas"
    many = int(info.get("connected_slaves", 0))
    # Redis counts the good ones only if min-replicas-to-write is set.
    good = info.get("min_slaves_good_slaves")
    if not many:
        yield bad(subject, "none: no server can take over", "Start one, and look at its log.")
    elif state and good is None:
        remedy = "Set min-replicas-to-write 1: otherwise a primary that is cut off still hands out jobs."
        yield warning(subject, "min-replicas-to-write is not set", remedy)
    else:
        yield ok(subject, f"{many if good is None else good} replicate")
