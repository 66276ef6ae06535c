"""`boomerang-server lanes` and `boomerang-server keys limits`: limits that change while the service runs."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import click
from marshmallow import ValidationError

from jobs.api_keys import KeyRing, checked_name
from jobs.key_limits import KeyLimits, KeyLimitsSchema
from jobs.lanes import LaneLimitsSchema, LaneSettings, flat
from jobs.limits import SCHEMAS, Overrides, Subject
from jobs.logs import to_stderr
from jobs.owners import CELERY
from jobs.serializers.lanes import serialize_key_limits, serialize_lane
from jobs.store.store import Store
from ops.commands.audited import audited
from ops.commands.durations import parse_duration
from ops.commands.help_text import examples
from ops.commands.store import open_store
from ops.commands.table import show_table
from ops.commands.terminal import echo

#: Who changed it, where the HTTP API has the id of a key.
_BY = "boomerang-server"
_COLUMNS = ("limit", "in force", "configured", "until", "reason")

Command = Callable[..., Any]


def _option(limit: str) -> str:
    return "--" + limit.replace("_", "-")


def _limit_options(subject: Subject) -> Callable[[Command], Command]:
    """Add an option for each limit of a lane or key, and those of every change."""

    def decorate(command: Command) -> Command:
        made = [
            click.option("--reason", default="", metavar="TEXT", help="Why, for other operators."),
            click.option(
                "--for",
                "expires_in",
                type=parse_duration,
                metavar="DURATION",
                help="The configured value is back after so long, such as 90s, 10m, 2h.",
            ),
            click.option(
                "--reset",
                multiple=True,
                type=click.Choice([_option(name)[2:] for name in SCHEMAS[subject]().fields]),
                help="Give a limit its configured value back. Repeat the option for several.",
            ),
        ]
        for name, field in reversed(SCHEMAS[subject]().fields.items()):
            text = str(field.metadata["description"]).replace("null:", "none:")
            made.append(click.option(_option(name), metavar="VALUE", help=text))
        for each in made:
            command = each(command)
        return command

    return decorate


def _change(store: Store, subject: Subject, name: str, given: Mapping[str, Any]) -> None:
    """Change the limits that the options name. Raises `click.UsageError` for invalid ones."""
    limits = SCHEMAS[subject]().fields
    texts = {limit: given[limit] for limit in limits if given[limit] is not None}
    reset = [limit.replace("-", "_") for limit in given["reset"]]
    if both := [limit for limit in reset if limit in texts]:
        raise click.UsageError(f"Either change or reset {_option(both[0])}.")
    try:
        values = SCHEMAS[subject](partial=True).load({limit: _value(text) for limit, text in texts.items()})
    except ValidationError as error:
        messages: dict[str, Any] = error.normalized_messages()  # type: ignore[no-untyped-call]
        raise click.UsageError(
            " ".join(f"{_option(limit)}: {flat(each)}" for limit, each in messages.items())
        ) from None
    reason, expires_in = given["reason"], given["expires_in"]
    store.context.limits.change(subject, name, values, reset=reset, by=_BY, reason=reason, expires_in=expires_in)
    about = {"lane" if subject is Subject.LANE else "producer": name}
    audited(store, "limits", **about, **texts, reset=",".join(reset), reason=reason)


def _value(text: str) -> Any:
    """Read the value of an option: JSON, or else text. `none`: null."""
    if text == "none":
        return None
    if "," in text and not text.startswith("["):
        return text.split(",")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _print(values: Mapping[str, Any], configured: Mapping[str, Any], overrides: Iterable[Mapping[str, Any]]) -> None:
    changed = {each["name"]: each for each in overrides}
    rows = []
    for limit, value in values.items():
        change = changed.get(limit, {})
        rows.append(
            (limit, _text(value), _text(configured[limit]), change.get("until") or "", change.get("reason") or "")
        )
    show_table(_COLUMNS, rows)


def _text(value: Any) -> str:
    return "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value)


@click.group("lanes")
def lanes() -> None:
    """Show the lanes, change their limits, and pause them while the service runs.

    Every process notices a change within two seconds. BOOMERANG_LANES must be set as for the service.
    """
    to_stderr()


@lanes.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print each lane as one JSON object per line.")
def list_(*, as_json: bool) -> None:
    """List the lanes, with the limits in force."""
    with open_store() as store:
        found = [serialize_lane(lane) for lane in store.lanes.get_all()]
    if as_json:
        for lane in found:
            echo(json.dumps(lane))
        return
    columns = ("lane", "state", "slots", "max in flight", "submit rate", "max cost per day", "changed")
    show_table(
        columns,
        [
            (
                lane["name"],
                lane["reason"] or "healthy",
                str(lane["slots"]),
                _text(lane["max_in_flight"]),
                _text(lane["submit_rate"]),
                _text(lane["max_cost_per_day"]),
                ", ".join(each["name"] for each in lane["overrides"]),
            )
            for lane in found
        ],
    )


@lanes.command("set", epilog=examples("boomerang-server lanes set main --max-in-flight 10 --for 2h"))
@click.argument("name")
@_limit_options(Subject.LANE)
def set_(name: str, **given: Any) -> None:
    """Change limits of the lane NAME, and print them.

    `none` means no limit, for a limit that may have none.
    """
    with open_store() as store:
        _checked_lane(store, name)
        _change(store, Subject.LANE, name, given)
        lane = store.lanes.get(name)
    schema = LaneLimitsSchema()
    _print(
        schema.dump(lane.settings or LaneSettings()),
        schema.dump(lane.configured or LaneSettings()),
        serialize_lane(lane)["overrides"],
    )


@lanes.command(epilog=examples("boomerang-server lanes pause main --reason 'new contract' --for 30m"))
@click.argument("name")
@click.option("--reason", default="", metavar="TEXT", help="Why, for other operators and producers.")
@click.option(
    "--for", "expires_in", type=parse_duration, metavar="DURATION", help="The pause ends after so long, such as 30m."
)
def pause(name: str, reason: str, expires_in: float | None) -> None:
    """Submit nothing through the lane NAME. The provider goes on with the tasks that it has."""
    with open_store() as store:
        _checked_lane(store, name)
        store.lanes.pause(name, reason, expires_in=expires_in)
        audited(store, "lanes.pause", lane=name, reason=reason, expires_in=expires_in or "")


@lanes.command(epilog=examples("boomerang-server lanes resume main"))
@click.argument("name")
def resume(name: str) -> None:
    """End the pause of the lane NAME. Its jobs go on within a second."""
    with open_store() as store:
        _checked_lane(store, name)
        store.lanes.resume(name)
        audited(store, "lanes.resume", lane=name)


def _checked_lane(store: Store, name: str) -> None:
    known = [lane.name for lane in store.context.configured.lanes]
    if name not in known:
        raise click.BadParameter(
            f"No lane {name} is configured (BOOMERANG_LANES). There are: {', '.join(known)}.", param_hint="NAME"
        )


def _checked_key(name: str) -> None:
    try:
        checked_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from None


@click.command("limits", epilog=examples("boomerang-server keys limits shop --weight 3 --max-cost-per-day 50 --for 2d"))
@click.argument("name")
@_limit_options(Subject.KEY)
@click.option("--json", "as_json", is_flag=True, help="Print the limits as one JSON object.")
def key_limits(name: str, *, as_json: bool, **given: Any) -> None:
    """Show the limits of the producer NAME, after changing those that options give.

    `none` means no limit. BOOMERANG_KEY_LIMITS must be set as for the service, to show the configured values.
    """
    with open_store() as store:
        if name != CELERY:
            _checked_key(name)
        made = {key.name for key in KeyRing(store.context.client, store.context.keys).all()}
        if name not in {CELERY, *made, *store.context.configured.key_limits}:
            echo(f"No key of `keys add` is named {name}: these limits concern keys of BOOMERANG_API_KEYS.", err=True)
        if given["reset"] or any(given[limit] is not None for limit in KeyLimitsSchema().fields):
            _change(store, Subject.KEY, name, given)
        limits = store.context.limits
        overrides: Overrides = limits.overrides(Subject.KEY, name)
        in_force = limits.in_force().key_limits.get(name, KeyLimits())
        configured = store.context.configured.key_limits.get(name, KeyLimits())
    schema = KeyLimitsSchema()
    view = serialize_key_limits(name, in_force, configured, overrides)
    if as_json:
        echo(json.dumps(view))
    else:
        _print(schema.dump(in_force), schema.dump(configured), view["overrides"])
