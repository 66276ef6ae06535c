"""The page about requests has the parameters of the schemas, and requests in the guides are valid."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from schemas import MODELS, RequestInvalid, load_request
from schemas.requests import base
from webhook.api.provider_compat import unwrap

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "requests.md").read_text("utf-8")
GUIDES = "".join(page.read_text("utf-8") for page in sorted(DOCS.rglob("*.md")))
COMMON = set(base.RequestSchema().fields) | {"model"}


def table(heading: str) -> dict[str, tuple[str, str]]:
    """Return parameter → (type, rules) from the table below a heading."""
    _, _, rest = PAGE.partition(heading)
    body = rest.partition("| --- | --- | --- |\n")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`.+?`) \| (.+?) \| (.+) \|$", body, re.MULTILINE)
    return {name: (kind, rules) for names, kind, rules in rows for name in re.findall(r"`(\w+)`", names)}


def requests_shown() -> list[dict[str, Any]]:
    """Return every request in a console block, with and without curl."""
    blocks = "\n".join(re.findall(r"```console\n(.*?)```", GUIDES, re.DOTALL))
    return [json.loads(text) for text in re.findall(r"""(?:-d '|^)(\{"model": .+?\})(?:'|$)""", blocks, re.MULTILINE)]


def test_the_parameters_of_both_models_are_documented() -> None:
    assert set(table("Both models take these")) == COMMON


@pytest.mark.parametrize("model", MODELS)
def test_a_models_own_parameters_are_documented(model: str) -> None:
    rows, parameters = table(f"\n`{model}`:"), set(MODELS[model]().fields) - COMMON
    assert set(rows) == parameters
    required = {name for name, field in MODELS[model]().fields.items() if field.required} - {"model"}
    assert {name for name, (kind, _) in rows.items() if kind.endswith("required")} == required


@pytest.mark.parametrize("model", MODELS)
def test_the_ratios_are_documented(model: str) -> None:
    _, rules = table(f"\n`{model}`:")["aspect_ratio"]
    (validator,) = MODELS[model]().fields["aspect_ratio"].validators
    assert set(re.findall(r"`(.+?)`", rules)) == set(getattr(validator, "choices", ()))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"model": "kirin_image_omni", "prompt": " "}, base.PROMPT_MISSING),
        ({"model": "kirin_image_omni", "prompt": "a" * (base.MAX_PROMPT + 1)}, base.PROMPT_TOO_LONG),
        ({"model": "kirin_image_omni", "prompt": "a cat", "n": 10}, base.COUNT_OUT_OF_RANGE),
    ],
    ids=["missing", "too long", "n"],
)
def test_the_providers_error_codes_are_documented(request_: dict[str, Any], code: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        load_request(request_)
    assert caught.value.codes == [code]
    assert f"| `{code}` |" in PAGE


def test_shown_requests_are_valid_except_those_shown_to_fail() -> None:
    requests = [unwrap(request) for request in requests_shown()]
    assert len(requests) >= 8
    for request in requests:
        assert isinstance(request, dict)
        if request.get("n") == 12:
            with pytest.raises(RequestInvalid):
                load_request(request)
        else:
            load_request(request)
