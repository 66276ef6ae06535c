"""Validate generation requests."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from marshmallow import ValidationError

from schemas.callback_rules import ANYWHERE, CALLBACK_RULES, CallbackRules
from schemas.error_text import nearest, quoted
from schemas.errors import RequestInvalid
from schemas.requests import models as models  # importing the package registers every model
from schemas.requests.base import MODELS, RequestSchema
from schemas.requests.fields import CallbackUrl
from schemas.requests.messages import Message, paths
from schemas.requests.record import GenerationRequest
from schemas.requests.unknown import unknown_problems
from schemas.urls import PRIVATE_HOSTS_ALLOWED


@cache
def _schema(model: str) -> RequestSchema:
    """Return the schema of a model, built once: that takes longer than a load."""
    return MODELS[model]()


def load_request(
    data: object,
    *,
    allow_private_hosts: bool = False,
    pass_unknown: bool = False,
    callbacks: CallbackRules = ANYWHERE,
) -> GenerationRequest:
    """Validate `data` (parsed JSON): the documented generation request, plus the service's own parameters.

    Raises `RequestInvalid` with every problem found. With `allow_private_hosts` (local stacks), `callback_url` and
    image URLs may have a host that is not public. `callbacks` limits ports and hosts of `callback_url`. With
    `pass_unknown`, parameters that the model's schema does not know go into `params` unchanged.
    """
    private, rules = PRIVATE_HOSTS_ALLOWED.set(allow_private_hosts), CALLBACK_RULES.set(callbacks)
    try:
        return _load(data, pass_unknown=pass_unknown)
    finally:
        PRIVATE_HOSTS_ALLOWED.reset(private)
        CALLBACK_RULES.reset(rules)


def load_callback_url(url: str, *, allow_private_hosts: bool = False, callbacks: CallbackRules = ANYWHERE) -> str:
    """Validate the `callback_url` of a batch, by the rules of a request's. Raises `RequestInvalid`."""
    private, rules = PRIVATE_HOSTS_ALLOWED.set(allow_private_hosts), CALLBACK_RULES.set(callbacks)
    try:
        return str(CallbackUrl().deserialize(url))
    except ValidationError as error:
        raise RequestInvalid({"callback_url": list(map(str, error.messages))}) from error
    finally:
        PRIVATE_HOSTS_ALLOWED.reset(private)
        CALLBACK_RULES.reset(rules)


def _load(data: object, *, pass_unknown: bool) -> GenerationRequest:
    if not isinstance(data, dict):
        raise RequestInvalid(
            {"request": [f'must be a JSON object such as {{"model": …, "prompt": …}}, not {quoted(data)}']}
        )
    model = data.get("model")
    if not isinstance(model, str) or model not in MODELS:
        raise RequestInvalid({"model": [_model_problem(model)]})
    schema = _schema(model)
    unknown = {name: value for name, value in data.items() if name not in schema.fields} if pass_unknown else {}
    problems = unknown_problems(unknown)
    known = {name: value for name, value in data.items() if name not in unknown} if unknown else data
    try:
        params: dict[str, Any] = schema.load(known)
    except ValidationError as error:
        found = paths(error.messages) | problems
        refused = (
            [] if pass_unknown else [name for name in map(str, data) if name in found and name not in schema.fields]
        )
        raise RequestInvalid(found, list(_codes(error.messages)), refused) from None
    if problems:
        raise RequestInvalid(problems)
    params |= unknown
    del params["model"]
    return GenerationRequest(
        model=model,
        external_task_id=params.pop("external_task_id", None),
        callback_url=params.pop("callback_url", None),
        labels=params.pop("labels", {}),
        metadata=params.pop("metadata", {}),
        priority=params.pop("priority", None),
        expires_in=params.pop("expires_in", None),
        n=params.get("n", 1),
        params=params,
    )


def _model_problem(model: object) -> str:
    known = f"known are {', '.join(sorted(MODELS))}"
    if model is None:
        return f"is required; {known}"
    if not isinstance(model, str):
        return f"must be a string, not {quoted(model)}; {known}"
    guess = nearest(model, MODELS)
    return f"{quoted(model)} is not a known model; " + (f'did you mean "{guess}"? ' if guess else "") + known


def _codes(messages: object) -> Iterator[str]:
    match messages:
        case Message():
            yield messages.code
        case Mapping():
            for value in messages.values():
                yield from _codes(value)
        case list():
            for value in messages:
                yield from _codes(value)
