"""Generation requests in the OpenAPI document: their schemas, and an example of each."""

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, fields

from schemas.requests import models as models  # importing the package registers every model
from schemas.requests.base import MODELS


def component_names() -> dict[str, type[Schema]]:
    """Return the schema class of every model by its name in the OpenAPI document."""
    return {schema.__name__: schema for schema in MODELS.values()}


def generation_request_openapi(prefix: str = "#/components/schemas/") -> Mapping[str, Any]:
    """Return the OpenAPI schema of a generation request: one of the models' schemas, chosen by `model`.

    It refers to the components that `component_names` names, which the caller registers.
    """
    mapping = {model: f"{prefix}{schema.__name__}" for model, schema in sorted(MODELS.items())}
    return {
        "oneOf": [{"$ref": reference} for reference in mapping.values()],
        "discriminator": {"propertyName": "model", "mapping": mapping},
    }


def example_requests() -> Mapping[str, Mapping[str, Any]]:
    """Return a short valid request for each model: its required parameters, a prompt and an id of its own."""
    return {
        model: {
            name: _example(field)
            for name, field in schema().fields.items()
            if field.required or name in ("prompt", "external_task_id")
        }
        | {"external_task_id": f"order-4711.{model}"}
        for model, schema in sorted(MODELS.items())
    }


def _example(field: Any) -> Any:
    match field:
        case fields.List():
            return [_example(field.inner)]
        case fields.Nested():
            return {name: _example(each) for name, each in field.schema.fields.items() if each.required}
    return field.metadata["example"]
