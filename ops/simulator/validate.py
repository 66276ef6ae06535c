"""Validation of a submission's body by the rules of the two model pages. Unknown parameters are refused."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ops.simulator.images import ImageInvalid, Reference, is_url, read_image

PROMPT_MISSING = "002016001"
PROMPT_TOO_LONG = "002016002"
N_OUT_OF_RANGE = "002016003"
#: The pages give no code for other mistakes. These are the upstream's "malformed" and "illegal value".
MALFORMED, ILLEGAL = "1200", "1201"

MOST_CHARACTERS = 2500
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


class Refused(Exception):
    """The submission breaks a rule. The message begins with the name of the field."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Order:
    """A valid submission, with defaults filled in."""

    model: str
    n: int
    prompt: str
    aspect_ratio: str
    resolution: str
    watermark: bool
    references: tuple[Reference, ...]
    callback_url: str | None
    external_id: str | None


def read_order(body: bytes, image_key: str = "image") -> Order:
    """Parse a submission's body, `{"model", "input": [{"params": {…}}]}` or flat. Raises Refused."""
    model, params = _unwrap(_parse(body))
    rules = _rules(model, image_key)
    for name in params:
        if name not in rules:
            near = difflib.get_close_matches(str(name), rules, n=1)
            hint = f", did you mean {near[0]}" if near else ""
            raise Refused(ILLEGAL, f"{name}: unknown parameter{hint}")
    values = {
        name: rule.check(name, params[name]) if name in params else rule.when_absent() for name, rule in rules.items()
    }
    images: tuple[Reference, ...] = values.get("image_list") or ()
    _check_mentions(model, values["prompt"], len(images))
    single = (values.get("scene_image"), values.get("style_image"))
    return Order(
        model=model,
        n=values["n"],
        prompt=values["prompt"],
        aspect_ratio=values["aspect_ratio"],
        resolution=values.get("resolution", "1k"),
        watermark=values["watermark_info"],
        references=(*images, *values.get("subject_image_list", ()), *(image for image in single if image)),
        callback_url=values["callback_url"],
        external_id=values["external_task_id"],
    )


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        data = json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:
        raise Refused(MALFORMED, f"body: not valid JSON ({error})") from error
    if not isinstance(data, dict):
        raise Refused(MALFORMED, "body: must be a JSON object")
    return data


def _unwrap(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    model = data.pop("model", None)
    if not isinstance(model, str) or model not in MODELS:
        raise Refused(ILLEGAL, f"model: must be one of {', '.join(MODELS)}")
    if "input" not in data:
        return model, data
    for name in data:
        if name != "input":
            raise Refused(ILLEGAL, f"{name}: unknown member beside model and input")
    match data["input"]:
        case [{"params": dict() as params, **others}] if not others:
            return model, params
    raise Refused(MALFORMED, 'input: must be a list of one object {"params": {…}}')


@dataclass(frozen=True, slots=True)
class Rule:
    """How a parameter is checked, and its default."""

    check: Callable[[str, Any], Any]
    default: Any = None
    #: The code of the answer if the parameter is missing. None: it is optional.
    required: str | None = None
    name: str = ""

    def when_absent(self) -> Any:
        """Return the default. Raises Refused if the parameter is required."""
        if self.required:
            raise Refused(self.required, f"{self.name}: is required")
        return self.default


def _prompt(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise Refused(ILLEGAL, f"{name}: must be a string")
    if len(value) > MOST_CHARACTERS:
        raise Refused(PROMPT_TOO_LONG, f"{name}: must not exceed {MOST_CHARACTERS} characters, this has {len(value)}")
    return value


def _prompt_required(name: str, value: Any) -> str:
    text = _prompt(name, value)
    if not text.strip():
        raise Refused(PROMPT_MISSING, f"{name}: is required")
    return text


def _number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 9:  # noqa: PLR2004 - the page's range
        raise Refused(N_OUT_OF_RANGE, f"{name}: must be an integer between 1 and 9")
    return value


def _one_of(*options: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in options:
            raise Refused(ILLEGAL, f"{name}: must be one of {', '.join(options)}")
        return value

    return check


def _watermark(name: str, value: Any) -> bool:
    match value:
        case {"enabled": bool() as enabled, **others} if not others:
            return enabled
    raise Refused(ILLEGAL, f'{name}: must be {{"enabled": true}} or {{"enabled": false}}')


def _image(name: str, value: Any) -> Reference:
    try:
        return read_image(value)
    except ImageInvalid as error:
        raise Refused(ILLEGAL, f"{name}: {error}") from error


def _images(key: str, least: int, most: int) -> Callable[[str, Any], tuple[Reference, ...]]:
    def check(name: str, value: Any) -> tuple[Reference, ...]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise Refused(ILLEGAL, f"{name}: must be a list of {least} to {most} images")
        for index, item in enumerate(value):
            if not isinstance(item, dict) or set(item) != {key}:
                raise Refused(ILLEGAL, f'{name}.{index}: must be {{"{key}": "URL or raw Base64"}}')
        return tuple(_image(f"{name}.{index}.{key}", item[key]) for index, item in enumerate(value))

    return check


def _callback_url(name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_url(value):
        raise Refused(ILLEGAL, f"{name}: must be an http(s) URL")
    return value


def _external_id(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 255 or not value.isprintable():  # noqa: PLR2004
        raise Refused(ILLEGAL, f"{name}: must be a string of 1 to 255 printable characters")
    return value


_COMMON: Mapping[str, Rule] = {
    "n": Rule(_number, default=1),
    "watermark_info": Rule(_watermark, default=False),
    "callback_url": Rule(_callback_url),
    "external_task_id": Rule(_external_id),
}


def _reference2image(_image_key: str) -> dict[str, Rule]:
    return {
        "prompt": Rule(_prompt, default=""),
        "subject_image_list": Rule(_images("subject_image", 1, 4), required=ILLEGAL, name="subject_image_list"),
        "scene_image": Rule(_image),
        "style_image": Rule(_image),
        "aspect_ratio": Rule(_one_of(*RATIOS), default="16:9"),
        **_COMMON,
    }


def _omni(image_key: str) -> dict[str, Rule]:
    return {
        "prompt": Rule(_prompt_required, required=PROMPT_MISSING, name="prompt"),
        "image_list": Rule(_images(image_key, 0, 10), default=()),
        "resolution": Rule(_one_of("1k", "2k"), default="1k"),
        "aspect_ratio": Rule(_one_of(*RATIOS, "auto"), default="auto"),
        **_COMMON,
    }


REFERENCE2IMAGE, OMNI = "kirin_v2_1_reference2image", "kirin_image_omni"
MODELS: Mapping[str, Callable[[str], dict[str, Rule]]] = {REFERENCE2IMAGE: _reference2image, OMNI: _omni}
_RULES: dict[tuple[str, str], dict[str, Rule]] = {}
_MENTION = re.compile(r"<<<image_(\d+)>>>")


def _rules(model: str, image_key: str) -> dict[str, Rule]:
    rules = _RULES.get((model, image_key))
    if rules is None:
        rules = _RULES[(model, image_key)] = MODELS[model](image_key)
    return rules


def _check_mentions(model: str, prompt: str, images: int) -> None:
    if model != OMNI or "<<<" not in prompt:
        return
    for digits in _MENTION.findall(prompt):
        # Check the length first: int() raises on a number with thousands of digits.
        if len(digits.lstrip("0")) > 2 or not 1 <= int(digits) <= images:  # noqa: PLR2004 - at most 10 images
            raise Refused(ILLEGAL, f"prompt: <<<image_{digits[:9]}>>> refers to an image beyond image_list ({images})")
