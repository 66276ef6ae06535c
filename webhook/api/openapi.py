"""The OpenAPI document: flask-smorest makes it of the marshmallow schemas, and this is what it cannot know."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from flask import Flask
from flask_smorest import Api, Blueprint
from marshmallow import RAISE, Schema, fields

from jobs.api_keys import Scope
from schemas.api import component_names, generation_request_openapi
from schemas.views.problems import Problem
from webhook.access.auth import needs

#: Where the pages' scripts are served from (webhook.pages): nothing is loaded from elsewhere.
ASSETS = "/docs/assets/"
JSON, NDJSON = "application/json", "application/x-ndjson"
_GENERATION: Mapping[str, Any] = {"$ref": "#/components/schemas/GenerationRequest"}
_ABOUT = """Throw generation jobs at a slow API; they come back.

The body of a job is the provider's documented generation request itself. Sending the same request again under the same
`external_task_id` makes no second job, so every call here is safe to repeat. Errors are `application/problem+json`.
"""


class BoomerangApi(Api):  # type: ignore[misc] # flask-smorest ships no types
    """flask-smorest's, with our form of errors in the document."""

    ERROR_SCHEMA = Problem
    #: Of errors alone: `operation` names that of each answer.
    DEFAULT_RESPONSE_CONTENT_TYPE = "application/problem+json"


def create_api(app: Flask) -> Any:
    """The app's API; its document is at /openapi.json and readable at /docs."""
    app.config.update(
        API_TITLE="Boomerang",
        API_VERSION="v1",
        # 3.0: the Swagger UI at hand (swagger-ui-bundle) does not read 3.1.
        OPENAPI_VERSION="3.0.3",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        OPENAPI_SWAGGER_UI_PATH="docs",
        OPENAPI_SWAGGER_UI_URL=ASSETS,
        OPENAPI_SWAGGER_UI_CONFIG={"deepLinking": True, "persistAuthorization": False},
        API_SPEC_OPTIONS={"info": {"description": _ABOUT}, "security": [{"bearer": []}]},
    )
    api = BoomerangApi(app)
    # Money is text in JSON: what it is to the cent survives no float.
    api.register_field(fields.Decimal, "string", "decimal")
    api.spec.components.security_scheme(
        "bearer",
        {
            "type": "http",
            "scheme": "bearer",
            "description": "A producer's key; each call says which scope it must have.",
        },
    )
    for name, schema in component_names().items():
        api.spec.components.schema(name, schema=schema)
    api.spec.components.schema("GenerationRequest", generation_request_openapi())
    return api


View = TypeVar("View", bound=Callable[..., Any])


def operation(
    blueprint: Blueprint,
    method: str,
    path: str,
    answers: Mapping[int, type[Schema]],
    *,
    scope: Scope,
    content_type: str = JSON,
    other_forms: Mapping[str, Mapping[str, Any]] | None = None,
    query: type[Schema] | None = None,
    body: str | None = None,
    body_schema: Mapping[str, Any] = _GENERATION,
    request_body: Mapping[str, Any] | None = None,
    refusals: Sequence[int] = (),
) -> Callable[[View], View]:
    """Decorator: routes a view and documents it; its docstring is the text. A key must have the `scope` for it.

    The view gets what `query` loaded as its first argument, reads its own body (`body` is the content type of the
    generation requests in it, `body_schema` the form of each; `request_body` describes a body of another kind), and
    answers in the form of `answers` by itself, as `content_type`; `other_forms` are those that it can be asked for, by
    content type.
    """
    described: dict[str, Any] = {"x-scope": scope.value}
    if request_body:
        described["requestBody"] = request_body
    if other_forms:
        content = {form: {"schema": schema} for form, schema in other_forms.items()}
        described["responses"] = {status: {"content": content} for status in answers}
    if body:
        described["requestBody"] = {
            "required": True,
            "description": "The provider's documented generation request" + ("." if body == JSON else ", one a line."),
            "content": {body: {"schema": body_schema}},
        }

    def decorate(view: View) -> View:
        view.__doc__ = f"{view.__doc__}\n\n    The key must have the scope `{scope}`."
        wrapped: Any = needs(scope, view)
        for status in {401, 403, 429, *refusals}:
            if status in answers:
                continue
            wrapped = blueprint.alt_response(status, "DEFAULT_ERROR", success=False)(wrapped)
        for status, schema in answers.items():
            wrapped = blueprint.alt_response(status, schema=schema, content_type=content_type)(wrapped)
        if query:
            wrapped = blueprint.arguments(query, location="query", unknown=RAISE)(wrapped)
        routed: View = blueprint.route(path, methods=[method])(blueprint.doc(**described)(wrapped))
        return routed

    return decorate
