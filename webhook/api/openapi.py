"""The OpenAPI document: flask-smorest derives it from the marshmallow schemas, and this module adds the rest."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeVar

from flask import Blueprint as PlainBlueprint
from flask import Flask, Response, render_template, url_for
from flask_smorest import Api, Blueprint
from marshmallow import RAISE, Schema, fields

from jobs.api_keys import Scope
from schemas.queries.batches import EXAMPLE_BATCH
from schemas.requests.openapi import component_names, example_requests, generation_request_openapi
from schemas.views.images import EXAMPLE_IMAGE
from schemas.views.problems import EXAMPLES, MEANINGS, Problem
from webhook.access.scopes import needs
from webhook.services import services

#: Path of Swagger UI's files (webhook.pages). The page loads nothing from elsewhere.
ASSETS = "/docs/assets/"
_TITLE = "Boomerang"
JSON, NDJSON, PROBLEM = "application/json", "application/x-ndjson", "application/problem+json"
_GENERATION: Mapping[str, Any] = {"$ref": "#/components/schemas/GenerationRequest"}
_EXAMPLES = example_requests()
_EXAMPLE_JOB = next(iter(_EXAMPLES.values()))["external_task_id"]
#: Requests that need no id, or whose id would be another job's.
EXAMPLES_WITHOUT_ID: Mapping[str, Mapping[str, Any]] = {
    name: {key: value for key, value in each.items() if key != "external_task_id"} for name, each in _EXAMPLES.items()
}
#: Parts of a path: what each means, and the id that the example requests create.
_PATH_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "job_id": ("Id of the job.", _EXAMPLE_JOB),
    "batch_id": ("Id of the batch.", EXAMPLE_BATCH),
    "bulk_id": ("Id of the bulk action.", "4f0c1d7a9b2e8356"),
    "image_id": ("Reference to the image.", EXAMPLE_IMAGE),
    "lane": ("Name of the lane.", "main"),
    "producer": ("Name of the producer's keys, or the id of one of them.", "shop"),
    "task_id": ("Id of the task.", _EXAMPLE_JOB),
    "receiver": ("Host of the receiver, with its port unless it is the usual one.", "hooks.shop.example"),
    "index": ("Number of the output, from 0.", "0"),
}
#: Headers of errors: name, type, meaning, and the statuses that have it.
_HEADERS = (
    ("Retry-After", "integer", "Seconds after which the same request may succeed.", (429, 503)),
    ("WWW-Authenticate", "string", "How to authenticate: Bearer.", (401,)),
)
_LOCATION = {"description": "The address.", "schema": {"type": "string", "format": "uri"}}
_ABOUT = """Throw generation jobs at a slow API; they come back.

The body of a job is the provider's documented generation request. The same request again under the same
`external_task_id` makes no second job, so that every call here is safe to repeat. Errors are
`application/problem+json`.

"Try it out" on the page /docs uses the key that you logged in with, unless you enter another one under "Authorize".
The jobs that it creates are real: they cost money.
"""


class _Api(Api):  # type: ignore[misc] # flask-smorest ships no types
    """flask-smorest's API. `operation` documents all errors, so the default ones of the library are off."""

    DEFAULT_ERROR_RESPONSE_NAME = None
    ERROR_SCHEMA = Problem
    #: For errors only: `operation` names the content type of each answer.
    DEFAULT_RESPONSE_CONTENT_TYPE = PROBLEM


def serve(app: Flask, blueprints: Sequence[Blueprint]) -> None:
    """Serve the calls of the blueprints, their document at /openapi.json and Swagger UI at /docs."""
    for each in blueprints:
        app.register_blueprint(each)
    pages = PlainBlueprint("api-docs", __name__)

    @pages.get("/openapi.json")
    def openapi_json() -> Response:
        passes_unknown = services().settings.passes_unknown
        return Response(document(tuple(blueprints), passes_unknown=passes_unknown), mimetype=JSON)

    @pages.get("/docs")
    def openapi_swagger_ui() -> str:
        return render_template(
            "swagger_ui.html",
            title=_TITLE,
            spec_url=url_for("api-docs.openapi_json"),
            swagger_ui_url=ASSETS,
            swagger_ui_config={"deepLinking": True, "persistAuthorization": False},
        )

    app.register_blueprint(pages)


@cache
def document(blueprints: tuple[Blueprint, ...], *, passes_unknown: bool = False) -> str:
    """Return the document of the blueprints' calls, as JSON. `passes_unknown`: requests may have other parameters.

    It takes tens of milliseconds, so it is made once per process, for the first request.
    """
    app = Flask(__name__)
    app.config.update(
        API_TITLE=_TITLE,
        API_VERSION="v1",
        # Swagger UI in swagger-ui-bundle does not read 3.1.
        OPENAPI_VERSION="3.0.3",
        API_SPEC_OPTIONS={"info": {"description": _ABOUT}, "security": [{"bearer": []}]},
    )
    api = _Api(app)
    # Money is text in JSON, since a float would lose digits.
    api.register_field(fields.Decimal, "string", "decimal")
    api.spec.components.security_scheme(
        "bearer",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "A producer's key. Each call names the scope that it requires.",
        },
    )
    for status, meaning in MEANINGS.items():
        api.spec.components.response(f"Problem{status}", _problem_response(status, meaning))
    for name, schema in component_names().items():
        api.spec.components.schema(name, schema=schema)
        if passes_unknown:
            api.spec.components.schemas[name]["additionalProperties"] = True
    api.spec.components.schema("GenerationRequest", generation_request_openapi())
    for each in blueprints:
        api.register_blueprint(each)
    return json.dumps(api.spec.to_dict(), indent=2)


View = TypeVar("View", bound=Callable[..., Any])


def operation(
    blueprint: Blueprint,
    method: str,
    path: str,
    answers: Mapping[int, type[Schema] | Mapping[str, Any]],
    *,
    scope: Scope,
    or_scope: tuple[Sequence[Scope], str, str] | None = None,
    content_type: str = JSON,
    other_forms: Mapping[str, Mapping[str, Any]] | None = None,
    query: type[Schema] | None = None,
    body: str | None = None,
    body_required: bool = True,
    body_schema: Mapping[str, Any] = _GENERATION,
    body_examples: Mapping[str, Mapping[str, Any]] = _EXAMPLES,
    request_body: Mapping[str, Any] | None = None,
    refusals: Sequence[int] = (),
    refusal: type[Schema] | None = None,
    meanings: Mapping[int, str] = MEANINGS,
    bodiless: Mapping[int, str] = MappingProxyType({}),
) -> Callable[[View], View]:
    """Decorate a view: route it, document it with its docstring, and require a key with the `scope`.

    `or_scope`: scopes that suffice for calls with a query parameter, that parameter ("": for all calls), and what for,
    as an infinitive.

    The view gets the loaded `query` as its first argument. It reads its own body: `body` is the content type of the
    generation requests in it, `body_required` whether there must be one, `body_schema` the schema and `body_examples`
    named examples of one; `request_body` describes any other body. It makes its own answer as `answers` documents it,
    of type `content_type`; `other_forms` documents further content types that a client may ask for. `refusals` are the
    statuses of its errors beside those of every call; `refusal` is their schema if they are not problems, and
    `meanings` describes them. `bodiless` describes answers without a body, by status.
    """
    described: dict[str, Any] = {"x-scope": scope.value}
    if request_body:
        described["requestBody"] = request_body
    if other_forms:
        content = {form: {"schema": schema} for form, schema in other_forms.items()}
        described["responses"] = {status: {"content": content} for status in answers}
    if body:
        described["requestBody"] = {
            "required": body_required,
            "description": "The provider's documented generation request"
            + ("." if body == JSON else ", one per line."),
            "content": {body: {"schema": body_schema, "examples": examples(body_examples, body)}},
        }
    parameters = [
        {"in": "path", "name": name, "required": True, "description": description}
        | {"schema": {"type": "string", "example": example}}
        for name in re.findall(r"<(\w+)>", path)
        for description, example in (_PATH_PARAMETERS[name],)
    ]

    def decorate(view: View) -> View:
        others = " or ".join(f"`{each}`" for each in or_scope[0]) if or_scope else ""
        suffices = f" The scope {others} suffices {or_scope[2]}." if or_scope else ""
        view.__doc__ = f"{view.__doc__}\n\n    Requires the scope `{scope}`.{suffices}"
        wrapped: Any = needs(scope, view, or_scope and or_scope[:2])
        # An administrator's id may name the jobs of several producers (webhook.api.ownership).
        ambiguous = {409} if re.search("<(job|batch|task)_id>", path) else set()
        for status in sorted({401, 403, 429, 500, *refusals, *ambiguous}):
            if refusal:
                wrapped = blueprint.alt_response(
                    status, schema=refusal, content_type=JSON, description=meanings[status]
                )(wrapped)
            else:
                wrapped = blueprint.alt_response(status, f"Problem{status}")(wrapped)
        for status, meaning in bodiless.items():
            headers = {"Location": _LOCATION} if status == HTTPStatus.FOUND else None
            wrapped = blueprint.alt_response(status, description=meaning, headers=headers, success=True)(wrapped)
        for status, schema in answers.items():
            wrapped = blueprint.alt_response(status, schema=schema, content_type=content_type, success=True)(wrapped)
        if query:
            wrapped = blueprint.arguments(query, location="query", unknown=RAISE)(wrapped)
        routed: View = blueprint.route(path, methods=[method], parameters=parameters)(
            blueprint.doc(**described)(wrapped)
        )
        return routed

    return decorate


def _problem_response(status: int, meaning: str) -> Mapping[str, Any]:
    """Return OpenAPI's description of an error: its meaning, its headers, and examples."""
    headers = {
        name: {"description": description, "schema": {"type": kind}}
        for name, kind, description, statuses in _HEADERS
        if status in statuses
    }
    return {
        "description": meaning,
        **({"headers": headers} if headers else {}),
        "content": {PROBLEM: {"schema": Problem, "examples": examples(EXAMPLES[status])}},
    }


def examples(requests: Mapping[str, Mapping[str, Any]], content_type: str = JSON) -> Mapping[str, Any]:
    """Return OpenAPI's named examples of a body: one for each request, or all of them as lines."""
    if content_type != NDJSON:
        return {name: {"value": request} for name, request in requests.items()}
    # Without ids of their own, the lines get ids from the batch.
    lines = [{name: value for name, value in each.items() if name != "external_task_id"} for each in requests.values()]
    return {"lines": {"value": "".join(f"{json.dumps(line)}\n" for line in lines)}}
