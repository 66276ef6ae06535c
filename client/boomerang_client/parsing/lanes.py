"""Parse lanes, and the troubles of the service."""

from boomerang_client.parsing.values import MALFORMED, as_money, as_number, as_object, read_list, read_time, unexpected
from boomerang_client.responses import Lane, Overview, Trouble


def read_lane(data: object) -> Lane:
    """Parse a lane. Raises UnexpectedAnswer."""
    view = as_object(data, "lane")
    try:
        return Lane(
            name=str(view["name"]),
            slots=int(view.get("slots") or 0),
            max_in_flight=int(view.get("max_in_flight") or 0),
            limit=int(view.get("limit", view.get("max_in_flight")) or 0),
            ready=int(view.get("ready") or 0),
            held=bool(view.get("held")),
            held_until=read_time(view.get("held_until")),
            reason=view.get("reason"),
            breaker=view.get("breaker"),
            configured=bool(view.get("configured", True)),
            spent=as_money(view.get("spent")),
            raw=view,
        )
    except MALFORMED as problem:
        raise unexpected("lane", problem) from problem


def read_overview(data: object) -> Overview:
    """Parse the lanes with the troubles of the service. Raises UnexpectedAnswer."""
    lanes = tuple(read_lane(each) for each in read_list(data, "lanes"))
    view = as_object(data, "list of lanes")
    try:
        # A service of an earlier version does not report troubles.
        troubles = tuple(_trouble(each) for each in view.get("troubles") or ())
        return Overview(lanes=lanes, troubles=troubles, last_round_age=as_number(view.get("last_round_age")))
    except MALFORMED as problem:
        raise unexpected("list of lanes", problem) from problem


def _trouble(data: object) -> Trouble:
    view = as_object(data, "trouble")
    return Trouble(
        code=str(view["code"]),
        what=str(view["what"]),
        do=str(view.get("do") or ""),
        since=read_time(view.get("since")),
        raw=view,
    )
