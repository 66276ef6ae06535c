"""The OpenAPI document is made from the schemas and describes every rule that they check."""

from typing import Any

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from schemas import MODELS
from schemas.requests.openapi import component_names, generation_request_openapi
from schemas.states import JOB_STATES
from schemas.views.batches import BatchAccepted, BatchView
from schemas.views.jobs import JobList, JobView
from schemas.views.lanes import LaneList
from schemas.views.problems import Problem, Readiness

#: The parameters on each page of the provider's documentation, in its order.
PAGES = {
    "kirin_v2_1_reference2image": [
        "model", "prompt", "subject_image_list", "scene_image", "style_image", "n", "aspect_ratio", "watermark_info",
        "callback_url", "external_task_id",
    ],
    "kirin_image_omni": [
        "model", "prompt", "image_list", "resolution", "n", "aspect_ratio", "watermark_info",
        "callback_url", "external_task_id",
    ],
}  # fmt: skip
REQUIRED = {
    "kirin_v2_1_reference2image": {"model", "subject_image_list"},
    "kirin_image_omni": {"model", "prompt"},
}
OWN_FIELDS = {"labels", "metadata", "priority", "expires_in"}


@pytest.fixture(scope="module")
def components() -> dict[str, Any]:
    spec = APISpec("Boomerang", "1", "3.1.0", plugins=[MarshmallowPlugin()])
    for name, schema in component_names().items():
        spec.components.schema(name, schema=schema)
    for view in (JobView, JobList, BatchView, BatchAccepted, LaneList, Readiness, Problem):
        if view.__name__ not in spec.components.schemas:
            spec.components.schema(view.__name__, schema=view)
    described: dict[str, Any] = spec.to_dict()["components"]["schemas"]
    return described


@pytest.mark.parametrize("model", PAGES)
def test_the_fields_are_the_providers_parameters_and_our_own(model: str) -> None:
    fields = MODELS[model]().fields

    assert set(fields) == set(PAGES[model]) | OWN_FIELDS
    assert {name for name, field in fields.items() if field.required} == REQUIRED[model]


@pytest.mark.parametrize("model", PAGES)
def test_every_field_is_described(model: str, components: dict[str, Any]) -> None:
    described = components[MODELS[model].__name__]["properties"]

    assert set(described) == set(PAGES[model]) | OWN_FIELDS
    assert [name for name, field in described.items() if not field.get("description")] == []


def test_the_document_states_the_limits(components: dict[str, Any]) -> None:
    omni = components["KirinImageOmni"]["properties"]
    reference = components["KirinV21Reference2Image"]["properties"]

    assert omni["prompt"]["maxLength"] == reference["prompt"]["maxLength"] == 2500
    assert (omni["n"]["type"], omni["n"]["minimum"], omni["n"]["maximum"]) == ("integer", 1, 9)
    assert omni["aspect_ratio"]["enum"] == [*reference["aspect_ratio"]["enum"], "auto"]
    assert len(reference["aspect_ratio"]["enum"]) == 8
    assert omni["resolution"]["enum"] == ["1k", "2k"]
    assert (omni["image_list"]["minItems"], omni["image_list"]["maxItems"]) == (1, 10)
    assert (reference["subject_image_list"]["minItems"], reference["subject_image_list"]["maxItems"]) == (1, 4)
    assert omni["callback_url"]["maxLength"] == 2048
    assert omni["external_task_id"]["pattern"] == "^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$"
    assert components["SubjectImage"]["required"] == ["subject_image"]
    assert components["ReferenceImage"]["required"] == ["image"]
    assert components["WatermarkInfo"]["properties"]["enabled"]["type"] == "boolean"


def test_the_model_name_discriminates_between_request_schemas(components: dict[str, Any]) -> None:
    described = generation_request_openapi()

    mapping = described["discriminator"]["mapping"]
    assert set(mapping) == set(MODELS)
    assert [option["$ref"] for option in described["oneOf"]] == list(mapping.values())
    for model, reference in mapping.items():
        component = components[reference.removeprefix("#/components/schemas/")]
        assert component["properties"]["model"]["enum"] == [model]
        assert "model" in component["required"]


def test_the_examples_are_valid_requests() -> None:
    for model, schema in MODELS.items():
        examples = {
            name: field.metadata["example"] for name, field in schema().fields.items() if "example" in field.metadata
        }
        images = {"image_list": [{"image": "https://example.com/a.png"}]} if model == "kirin_image_omni" else {}
        subjects = {"subject_image_list": [{"subject_image": "https://example.com/a.png"}]} if not images else {}
        assert schema().load(examples | images | subjects)["model"] == model


def test_every_field_of_a_job_view_is_described(components: dict[str, Any]) -> None:
    job = components["JobView"]["properties"]

    assert [name for name, field in job.items() if "description" not in field] == []
    assert job["created_at"]["format"] == "date-time"
    assert job["finished_at"]["type"] == ["string", "null"]
    assert set(job["status"]["enum"]) == set(JOB_STATES)
