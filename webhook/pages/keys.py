"""Keys, for administrators: the list, making and revoking where the webhook may, and limits.

The webhook's own Redis user may not write keys (docs/explanation/security.md), so this page needs a connection of its
own for it. It never makes a key with the scope `admin`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from flask import Response, request
from flask.typing import ResponseReturnValue

from jobs.api_keys import PRODUCER, AccessKey, Scope, checked_name, new_key_id
from jobs.errors import KeyExists, KeyNotFound
from jobs.job import Priority
from webhook.access.audit_log import annotate
from webhook.api.limits import KeyLimitsPatch, apply_to_key, known_producer, load_change, view_of_key
from webhook.http.problems import ProblemError
from webhook.pages.blueprint import done, not_done, page, show
from webhook.pages.forms import errors_of
from webhook.services import services

#: Scopes that a key made here may have, in the order of the form.
SCOPES = (Scope.ENQUEUE, Scope.READ, Scope.CANCEL)
_MOST_DAYS = 3_650
#: Other fields beside the keys are none.
_ID = re.compile(r"[0-9a-f]{12}")
_ONCE = "Its secret was shown once: if it was not saved, revoke the key and make another one."
_COMMAND = "This webhook may not write keys: BOOMERANG_KEYS_REDIS_URL is not set. Run the command that the page shows."
#: The fields of the limits: limit, label, hint.
FIELDS = (
    ("weight", "Weight", "Its share of admission, beside other keys of its priority."),
    ("max_cost_per_day", "Cap", "Most dollars in a day of UTC. Empty: no cap."),
    ("max_unfinished", "Unfinished jobs", "Most at once. Empty: no limit of its own."),
    ("max_stored", "Stored bytes", "Most bytes of its jobs and images. Empty: no limit of its own."),
    ("callback_hosts", "Callback hosts", "The only hosts that it may notify, with commas between them. Empty: any."),
)
_ENDS = (("", "until it is changed again"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "7 days"))


@page("/keys", scope=Scope.ADMIN)
def keys() -> Response:
    """List the keys, with the form that makes one."""
    return _list()


@page("/keys", scope=Scope.ADMIN, methods=["POST"])
def make_key() -> ResponseReturnValue:
    """Make a key, and show its secret, this once."""
    writer, form = services().key_writer, request.form
    if writer is None:
        return not_done(_COMMAND, "pages.keys")
    name, scopes = form.get("name", "").strip(), form.getlist("scope")
    annotate(name=name, scopes=",".join(scopes))
    errors, days = {}, _days(form.get("days", "").strip())
    try:
        checked_name(name)
    except ValueError as error:
        errors["name"] = str(error)
    if not scopes or not set(scopes) <= PRODUCER:
        errors["scope"] = "choose one or more; keys with the scope admin are made by the command boomerang-server keys"
    if days == 0:
        errors["days"] = f"must be a number of days above 0, up to {_MOST_DAYS}"
    if errors:
        return _list(errors), 422
    lasts = timedelta(days=days) if days else None
    try:
        # The form brings the id, so that it makes one key, also when the browser sends it again.
        key, secret = writer.add(name, [*map(Scope, scopes)], key_id=_id(form.get("id", "")), lasts=lasts)
    except KeyExists as error:
        return not_done(f"{error} {_ONCE}", "pages.keys")
    annotate(made=key.id)
    return show("key_made.html", key=key, secret=secret)


@page("/keys/<key_id>/revoke", scope=Scope.ADMIN)
def revoke_key_risk(key_id: str) -> Response:
    """State what revoking a key does, with the button that does it."""
    return show("key_revoke.html", key=_key(key_id), writes=services().key_writer is not None)


@page("/keys/<key_id>/revoke", scope=Scope.ADMIN, methods=["POST"])
def revoke_key(key_id: str) -> ResponseReturnValue:
    """Revoke a key."""
    writer = services().key_writer
    if writer is None:
        return not_done(_COMMAND, "pages.keys")
    try:
        key = writer.revoke(_key(key_id).id)
    except KeyNotFound:
        raise _no_key(key_id) from None
    annotate(revoked=key.name)
    return done(f"Revoked key {key.id} of {key.name}. Within a second every webhook refuses it.", "pages.keys")


@page("/keys/<name>", scope=Scope.ADMIN)
def key(name: str) -> Response:
    """Show the limits of a producer's keys."""
    return _limits(known_producer(name))


@page("/keys/<name>/limits", scope=Scope.ADMIN, methods=["POST"])
def change_key_limits(name: str) -> ResponseReturnValue:
    """Change the limits that the person changed in the form."""
    name = known_producer(name)
    form, before = request.form, _values(view_of_key(name))
    wanted = {limit: form[limit].strip() for limit in before if limit in form}
    values = {limit: _value(limit, text) for limit, text in wanted.items() if text != before[limit]}
    if not values:
        return not_done("Nothing was changed: these limits are in force already.", "pages.key", name=name)
    options = {"reason": form.get("reason", "").strip(), "expires_in": form.get("expires_in") or None}
    try:
        change = load_change(KeyLimitsPatch, {**values, **options})
    except ProblemError as problem:
        return _limits(name, form, errors_of(problem)), problem.status
    apply_to_key(name, change)
    return done(f"Changed the limits of {name}. They are in force within two seconds.", "pages.key", name=name)


@page("/keys/<name>/reset", scope=Scope.ADMIN, methods=["POST"])
def reset_key_limit(name: str) -> ResponseReturnValue:
    """Give a limit its configured value back."""
    name, limit = known_producer(name), request.form.get("limit", "")
    apply_to_key(name, load_change(KeyLimitsPatch, {"reset": [limit]}))
    return done(f"{name} has its configured {limit} again within two seconds.", "pages.key", name=name)


def _list(errors: Mapping[str, str] | None = None) -> Response:
    shared = services()
    return show(
        "keys.html",
        keys=shared.key_ring.all()[::-1],
        given=shared.settings.keys,
        state=_state,
        writes=shared.key_writer is not None,
        scopes=SCOPES,
        errors=errors or {},
        entered=request.form,
        new_id=new_key_id(),
    )


def _limits(name: str, entered: Mapping[str, str] | None = None, errors: Mapping[str, str] | None = None) -> Response:
    view = view_of_key(name)
    return show(
        "key.html",
        name=name,
        view=view,
        values={**_values(view), **(entered or {})},
        errors=errors or {},
        fields=FIELDS,
        priorities=[(each.value, each.value) for each in Priority],
        ends=_ENDS,
        moment=datetime.fromisoformat,
    )


def _values(view: Mapping[str, Any]) -> dict[str, str]:
    """Return the limits in force as the form shows them."""
    limits = ("priority", *(limit for limit, *_ in FIELDS))
    return {limit: _text(view[limit]) for limit in limits}


def _text(value: object) -> str:
    if value is None:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def _value(limit: str, text: str) -> object:
    """Return what the form says as the API takes it. Text that is no number stays text, which the schema refuses."""
    if limit == "callback_hosts":
        return [host for each in text.split(",") if (host := each.strip())] or None
    if limit in ("priority", "max_cost_per_day"):
        return text or None
    if not text:
        return 1 if limit == "weight" else None
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text  # noqa: PLR2004


def _days(text: str) -> float | None:
    """Return the days, None for a key without an end, 0 for what is no number of days."""
    if not text:
        return None
    try:
        days = float(text)
    except ValueError:
        return 0
    return days if isfinite(days) and 0 < days <= _MOST_DAYS else 0


def _id(text: str) -> str | None:
    return text if _ID.fullmatch(text) else None


def _key(key_id: str) -> AccessKey:
    found = services().key_ring.find(key_id) if _ID.fullmatch(key_id) else None
    if found is None:
        raise _no_key(key_id)
    return found


def _no_key(key_id: str) -> ProblemError:
    return ProblemError(404, f"There is no key {key_id} that was made while the service runs.")


def _state(key: AccessKey) -> tuple[str, str]:
    """Return the class and name of a key's state."""
    if key.revoked_at:
        return "cancelled", "revoked"
    return ("ok", "valid") if key.opens(datetime.now(UTC)) else ("expired", "expired")
