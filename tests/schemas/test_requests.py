"""Every rule on the provider's two model pages, one row each."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import MODELS, GenerationRequest, RequestInvalid, load_request

OMNI: dict[str, Any] = {"model": "kirin_image_omni", "prompt": "a red fox"}
SUBJECT = {"subject_image": "https://example.com/fox.png"}
REFERENCE = {"model": "kirin_v2_1_reference2image", "subject_image_list": [SUBJECT]}
IMAGE = {"image": "https://example.com/fox.png"}
RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3", "21:9")


def _refused(request: object) -> RequestInvalid:
    with pytest.raises(RequestInvalid) as refusal:
        load_request(request)
    return refusal.value


INVISIBLE = {
    "zero-width spaces": "\u200b\u200b",
    "byte order mark": "\ufeff",
    "variation selectors": "\ufe0f\U000e0100",
    "joiners between spaces": " \u200d \u2060\n",
    "control characters": "\x01\x1b\x7f",
    "directions": "\u202e\u2066",
    "soft hyphen, grapheme joiner": "\u00ad\u034f",
    "Hangul fillers": "\u3164\u115f\uffa0",
    "tags": "\U000e0020\U000e007f",
    "blank Braille": "\u2800",
    "a lost object": "\ufffc",
    "annotation": "\ufff9\ufffb",
}

#: Almost a reference to an image, and the right form.
NEAR_MISSES = [
    (text, "(write <<<image_1>>>)")
    for text in (
        "<<image_1>>", "<image_1>", "<<<image_1>>", "<<image_1>>>", "<<<image_1", "image_1>>>",
        "<<<image 1>>>", "<<< image_1 >>>", "<<<image_ 1>>>", "<<<image1>>>", "<<<image-1>>>", "<<<image#1>>>",
        "<<<Image_1>>>", "<<<IMAGE_1>>>", "<<<images_1>>>", "<<<img_1>>>", "<<<image_N>>>", "<<<image>>>",
        "＜＜＜image_1＞＞＞", "＜＜image_1＞＞", "《《《image_1》》》", "《image_1》", "«<image_1>»", "⟪⟨image_1⟩⟫",
        "〈〈〈image_1〉〉〉",
        "<<<ｉｍａｇｅ_1>>>", "<<<image＿1>>>", "<<<image_１>>>", "<<<image_١>>>", "<<<图片1>>>", "<<<图_1>>>",
        "&lt;&lt;&lt;image_1&gt;&gt;&gt;", "&#60;&#60;&#60;image_1&#62;&#62;&#62;", r"\<\<\<image\_1\>\>\>",
        "<<<image\u200b_1>>>", "<<<\ufeffimage_1>>>", "<<<image_\n1>>>", "{{image_1}}", "{{{image_1}}}", "[[image_1]]",
    )
] + [
    ("<<image_2>>", "(write <<<image_2>>>)"),
    ("<<<image_1>>> like <<image_07>>", '"<<image_07>>" (write <<<image_7>>>)'),
    ("<<image_1>>, ＜image 2＞", '"<<image_1>>" (write <<<image_1>>>), "＜image 2＞" (write <<<image_2>>>)'),
]  # fmt: skip

#: Text in brackets that is not meant as a reference.
BRACKETS = (
    "a < b, image 1 > image 2", "image 1 -> image 2", "<p>an image</p>", "<img src=x>", "the man (image 1)",
    "[image 1]", "{image_1}", "{{prompt}}", "<<fox>>", "《红楼梦》", "« une image »", "an image, 1 of 3 << 5",
    "I <3 image_1", "5 >> 3", "<3 <3 <3 2 images", "<<<", "image_1", "<<<painting_1>>>",
    "&lt;b&gt;", "&lt;&lt;", "<lora:image:1>",
)  # fmt: skip

ACCEPTED: list[tuple[str, dict[str, Any]]] = [
    ("omni, least", OMNI),
    ("reference, least: no prompt", REFERENCE),
    ("reference, empty prompt", REFERENCE | {"prompt": ""}),
    ("reference, four subjects", REFERENCE | {"subject_image_list": [SUBJECT] * 4}),
    (
        "reference, scene and style",
        REFERENCE | {"scene_image": "https://a.example/s.jpg", "style_image": "http://8.8.8.8/s"},
    ),
    ("prompt of 2,500", OMNI | {"prompt": "x" * 2500}),
    ("prompt of 2,500 wide characters", OMNI | {"prompt": "🦊" * 2500}),
    ("omni, ten images", OMNI | {"image_list": [IMAGE] * 10, "prompt": "<<<image_1>>> and <<<image_10>>>"}),
    ("placeholder-like text", OMNI | {"prompt": "<<<image_x>>> << <<<picture_9>>>"}),
    *[(f"brackets: {text}", OMNI | {"prompt": text}) for text in BRACKETS],
    (
        "references side by side",
        OMNI | {"image_list": [IMAGE] * 2, "prompt": "<<<image_1>>><<<image_2>>><<<<image_01>>>>"},
    ),
    *[(f"visible: {text!a}", OMNI | {"prompt": text}) for text in ("\ufeffx", "❤\ufe0f", ".", "\u200b🦊", "\ue000")],
    ("image URL as long as allowed", OMNI | {"image_list": [{"image": "https://example.com/".ljust(8192, "x")}]}),
    ("watermark on", OMNI | {"watermark_info": {"enabled": True}}),
    ("watermark off", REFERENCE | {"watermark_info": {"enabled": False}}),
    ("callback", OMNI | {"callback_url": "https://shop.example.com:8443/hook?x=1#y"}),
    ("callback as long as allowed", OMNI | {"callback_url": "https://example.com/".ljust(2048, "x")}),
    ("id of 128", OMNI | {"external_task_id": "a" * 128}),
    ("id of every kind of character", OMNI | {"external_task_id": "0a.Z_b:c-d"}),
    ("labels", OMNI | {"labels": {f"label.{i}-_": "x" * 256 for i in range(16)}}),
    ("no labels", OMNI | {"labels": {}}),
    *[(f"n {n}", OMNI | {"n": n}) for n in range(1, 10)],
    *[(f"omni ratio {ratio}", OMNI | {"aspect_ratio": ratio}) for ratio in (*RATIOS, "auto")],
    *[(f"reference ratio {ratio}", REFERENCE | {"aspect_ratio": ratio}) for ratio in RATIOS],
    *[(f"resolution {size}", OMNI | {"resolution": size}) for size in ("1k", "2k")],
]


@pytest.mark.parametrize("request_", [row[1] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED])
def test_a_valid_request_is_accepted_and_kept_unchanged(request_: dict[str, Any]) -> None:
    request = load_request(request_)

    top_level = ("model", "external_task_id", "callback_url", "labels")
    assert request.params == {name: value for name, value in request_.items() if name not in top_level}
    assert (request.model, request.n) == (request_["model"], request_.get("n", 1))
    assert (request.external_task_id, request.callback_url) == (
        request_.get("external_task_id"),
        request_.get("callback_url"),
    )
    assert request.labels == request_.get("labels", {})


#: (what is wrong, request, path of the field, part of the error message, the provider's codes)
REFUSED: list[tuple[str, Any, str, str, list[str]]] = [
    ("not an object", [], "request", "JSON object", []),
    ("nothing", None, "request", "JSON object", []),
    ("no model", {"prompt": "x"}, "model", "kirin_image_omni, kirin_v2_1_reference2image", []),
    ("model unknown", OMNI | {"model": "kirin_image_omi"}, "model", 'did you mean "kirin_image_omni"?', []),
    ("model far from any", OMNI | {"model": "dall-e"}, "model", "known are kirin_image_omni, kirin_v2", []),
    ("model not a text", OMNI | {"model": ["x"]}, "model", "must be a string", []),
    ("parameter misspelt", OMNI | {"promt": "x"}, "promt", 'did you mean "prompt"?', []),
    ("parameter in another case", OMNI | {"Resolution": "1k"}, "Resolution", 'did you mean "resolution"?', []),
    ("parameter unknown", OMNI | {"zzzz": 1}, "zzzz", "known are aspect_ratio, callback_url", []),
    ("parameter of the other model", REFERENCE | {"resolution": "1k"}, "resolution", "not a known parameter", []),
    ("subjects at omni", OMNI | {"subject_image_list": [SUBJECT]}, "subject_image_list", "not a known parameter", []),
    ("left over from the video page", OMNI | {"duration": 5}, "duration", "not a known parameter", []),
    ("omni, no prompt", {"model": "kirin_image_omni"}, "prompt", "is required", ["002016001"]),
    ("omni, null prompt", OMNI | {"prompt": None}, "prompt", "must not be null", ["002016001"]),
    ("omni, empty prompt", OMNI | {"prompt": ""}, "prompt", "must not be blank", ["002016001"]),
    ("omni, blank prompt", OMNI | {"prompt": " \n\u3000"}, "prompt", "must not be blank", ["002016001"]),
    *[
        (f"omni, invisible prompt: {name}", OMNI | {"prompt": text}, "prompt", "must not be blank", ["002016001"])
        for name, text in INVISIBLE.items()
    ],
    *[
        (f"near-miss: {text}", OMNI | {"prompt": f"{text} at night", "image_list": [IMAGE]}, "prompt", right, [])
        for text, right in NEAR_MISSES
    ],
    ("omni, prompt a number", OMNI | {"prompt": 7}, "prompt", "must be a string, not 7", []),
    ("omni, prompt too long", OMNI | {"prompt": "x" * 2501}, "prompt", "2,501 characters", ["002016002"]),
    ("reference, prompt too long", REFERENCE | {"prompt": "x" * 2501}, "prompt", "shorten it", ["002016002"]),
    ("reference, null prompt", REFERENCE | {"prompt": None}, "prompt", "leave it out", []),
    ("prompt with NUL", OMNI | {"prompt": "a\0b"}, "prompt", "NUL", []),
    ("prompt with half a pair", OMNI | {"prompt": "a\ud800b"}, "prompt", "surrogate", []),
    ("n 0", OMNI | {"n": 0}, "n", "from 1 to 9, not 0", ["002016003"]),
    ("n 10", REFERENCE | {"n": 10}, "n", "from 1 to 9, not 10", ["002016003"]),
    ("n negative", OMNI | {"n": -1}, "n", "from 1 to 9", ["002016003"]),
    ("n huge", OMNI | {"n": 10**5000}, "n", "a huge number", ["002016003"]),
    ("n true", OMNI | {"n": True}, "n", "must be an integer, not true", []),
    ("n a text", OMNI | {"n": "3"}, "n", 'must be an integer, not "3"', []),
    ("n 2.0", OMNI | {"n": 2.0}, "n", "must be an integer, not 2.0", []),
    ("n null", OMNI | {"n": None}, "n", "must not be null", []),
    ("no subjects", {"model": REFERENCE["model"]}, "subject_image_list", "is required", []),
    ("subjects empty", REFERENCE | {"subject_image_list": []}, "subject_image_list", "give 1 to 4 objects", []),
    (
        "five subjects",
        REFERENCE | {"subject_image_list": [SUBJECT] * 5},
        "subject_image_list",
        "5 entries; at most 4",
        [],
    ),
    ("subjects not a list", REFERENCE | {"subject_image_list": SUBJECT}, "subject_image_list", "must be an array", []),
    (
        "subject a text",
        REFERENCE | {"subject_image_list": ["https://a.example/x"]},
        "subject_image_list.0",
        '{"subject_image": ',
        [],
    ),
    ("subject null", REFERENCE | {"subject_image_list": [None]}, "subject_image_list.0", "must not be null", []),
    (
        "subject without image",
        REFERENCE | {"subject_image_list": [{}]},
        "subject_image_list.0.subject_image",
        "is required",
        [],
    ),
    (
        "subject's key misspelt",
        REFERENCE | {"subject_image_list": [SUBJECT, SUBJECT | {"subject_imge": "x"}]},
        "subject_image_list.1.subject_imge",
        'did you mean "subject_image"?',
        [],
    ),
    (
        "subject empty",
        REFERENCE | {"subject_image_list": [{"subject_image": ""}]},
        "subject_image_list.0.subject_image",
        "must not be empty",
        [],
    ),
    (
        "subject with prefix",
        REFERENCE | {"subject_image_list": [{"subject_image": "data:image/png;base64,iVBORw0KGgo="}]},
        "subject_image_list.0.subject_image",
        "data: prefix",
        [],
    ),
    ("scene empty", REFERENCE | {"scene_image": ""}, "scene_image", "must not be empty", []),
    ("style not a text", REFERENCE | {"style_image": {"image": "x"}}, "style_image", "must be a string", []),
    ("scene with prefix", REFERENCE | {"scene_image": "data:image/jpeg;base64,x"}, "scene_image", "data: prefix", []),
    ("eleven images", OMNI | {"image_list": [IMAGE] * 11}, "image_list", "11 entries; at most 10", []),
    ("no image in the list", OMNI | {"image_list": []}, "image_list", "leave image_list out", []),
    ("image empty", OMNI | {"image_list": [IMAGE, {"image": ""}]}, "image_list.1.image", "must not be empty", []),
    ("image blank", OMNI | {"image_list": [{"image": "  "}]}, "image_list.0.image", "must not be empty", []),
    ("image null", OMNI | {"image_list": [{"image": None}]}, "image_list.0.image", "must not be null", []),
    ("image a plain text", OMNI | {"image_list": ["https://a.example/x"]}, "image_list.0", '{"image": ', []),
    (
        "image not public",
        OMNI | {"image_list": [{"image": "http://127.0.0.1/x"}]},
        "image_list.0.image",
        "not public",
        [],
    ),
    (
        "placeholder without images",
        OMNI | {"prompt": "<<<image_1>>>"},
        "prompt",
        "<<<image_1>>>, but image_list has 0",
        [],
    ),
    ("placeholder beyond", OMNI | {"prompt": "<<<image_2>>>", "image_list": [IMAGE]}, "prompt", "has 1 image;", []),
    ("placeholder zero", OMNI | {"prompt": "<<<image_0>>>", "image_list": [IMAGE]}, "prompt", "<<<image_0>>>", []),
    ("placeholder enormous", OMNI | {"prompt": f"<<<image_{'9' * 2000}>>>"}, "prompt", "<<<image_99999999>>>", []),
    ("omni ratio", OMNI | {"aspect_ratio": "5:4"}, "aspect_ratio", "21:9, auto", []),
    ("reference ratio auto", REFERENCE | {"aspect_ratio": "auto"}, "aspect_ratio", 'not "auto"', []),
    ("ratio a number", OMNI | {"aspect_ratio": 1.5}, "aspect_ratio", "must be a string", []),
    ("resolution", OMNI | {"resolution": "4k"}, "resolution", "1k, 2k", []),
    ("resolution in capitals", OMNI | {"resolution": "1K"}, "resolution", 'not "1K"', []),
    (
        "watermark as a list, as on one page",
        OMNI | {"watermark_info": [{"enabled": True}]},
        "watermark_info",
        '{"enabled": true}',
        [],
    ),
    ("watermark bare", OMNI | {"watermark_info": True}, "watermark_info", '{"enabled": true}', []),
    ("watermark without enabled", OMNI | {"watermark_info": {}}, "watermark_info.enabled", "is required", []),
    ("watermark enabled 1", OMNI | {"watermark_info": {"enabled": 1}}, "watermark_info.enabled", "true or false", []),
    (
        "watermark enabled a text",
        OMNI | {"watermark_info": {"enabled": "true"}},
        "watermark_info.enabled",
        "true or false",
        [],
    ),
    (
        "watermark of one's own",
        OMNI | {"watermark_info": {"enabled": True, "text": "me"}},
        "watermark_info.text",
        "known are enabled",
        [],
    ),
    ("callback not http", OMNI | {"callback_url": "ftp://example.com/x"}, "callback_url", "http:// or https://", []),
    ("callback private", OMNI | {"callback_url": "http://10.0.0.1/x"}, "callback_url", "not public", []),
    (
        "callback with credentials",
        OMNI | {"callback_url": "https://u:p@example.com/"},
        "callback_url",
        "credentials",
        [],
    ),
    (
        "callback too long",
        OMNI | {"callback_url": "https://example.com/".ljust(2049, "x")},
        "callback_url",
        "at most 2,048",
        [],
    ),
    (
        "image URL too long",
        OMNI | {"image_list": [{"image": "https://example.com/".ljust(8193, "x")}]},
        "image_list.0.image",
        "is 8,193 characters long; a URL may have at most 8,192",
        [],
    ),
    ("callback null", OMNI | {"callback_url": None}, "callback_url", "must not be null", []),
    ("id with tilde", OMNI | {"external_task_id": "job~2"}, "external_task_id", '"~" is reserved', []),
    ("id empty", OMNI | {"external_task_id": ""}, "external_task_id", "letter or digit", []),
    ("id too long", OMNI | {"external_task_id": "a" * 129}, "external_task_id", "at most 128", []),
    ("id begins with a dot", OMNI | {"external_task_id": ".a"}, "external_task_id", "begin with a letter", []),
    ("id with a path", OMNI | {"external_task_id": "../a"}, "external_task_id", "begin with", []),
    ("id with a line break", OMNI | {"external_task_id": "a\n"}, "external_task_id", "begin with", []),
    ("id a number", OMNI | {"external_task_id": 4711}, "external_task_id", "must be a string", []),
    ("labels a list", OMNI | {"labels": ["a"]}, "labels", "object of texts", []),
    ("labels too many", OMNI | {"labels": {str(i): "" for i in range(17)}}, "labels", "at most 16", []),
    ("label's name", OMNI | {"labels": {"a b": "x"}}, "labels.a b", "valid label name", []),
    ("label's name too long", OMNI | {"labels": {"a" * 65: "x"}}, f"labels.{'a' * 64}…", "1 to 64", []),
    ("label a number", OMNI | {"labels": {"a": 1}}, "labels.a", "must be a string, not 1", []),
    ("label too long", OMNI | {"labels": {"a": "x" * 257}}, "labels.a", "at most 256", []),
    ("label with NUL", OMNI | {"labels": {"a": "\0"}}, "labels.a", "NUL", []),
]


@pytest.mark.parametrize(
    ("request_", "field", "message", "codes"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_an_invalid_request_is_refused_with_what_to_do(
    request_: Any, field: str, message: str, codes: list[str]
) -> None:
    refusal = _refused(request_)

    assert list(refusal.errors) == [field]
    assert message in " ".join(refusal.errors[field])
    assert refusal.codes == codes


def test_every_problem_is_reported_at_once() -> None:
    refusal = _refused(
        {"model": "kirin_image_omni", "prompt": "<<<image_3>>>", "n": 12, "image_list": [{"image": ""}], "zz": 1}
    )

    assert set(refusal.errors) == {"prompt", "n", "image_list.0.image", "zz"}
    assert refusal.codes == ["002016003"]
    assert "n: must be from 1 to 9" in str(refusal)


def test_too_many_images_are_refused_before_any_is_decoded() -> None:
    refusal = _refused(OMNI | {"image_list": [{"image": "not base64 at all"}] * 1000})

    assert refusal.errors == {"image_list": ["has 1000 entries; at most 10 are allowed: remove some"]}


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "webhook", "[::1]", "10.1.2.3", "simulator.internal"])
def test_where_private_hosts_are_allowed_they_are_accepted(host: str) -> None:
    local = OMNI | {"callback_url": f"http://{host}/hook", "image_list": [{"image": f"http://{host}/fox.png"}]}

    request = load_request(local, allow_private_hosts=True)

    assert request.callback_url == f"http://{host}/hook"
    assert set(_refused(local).errors) == {"callback_url", "image_list.0.image"}


def test_where_private_hosts_are_allowed_every_other_rule_holds() -> None:
    local = OMNI | {"callback_url": "http://u:p@localhost/", "image_list": [{"image": "http://127.1/x"}], "n": 10}

    with pytest.raises(RequestInvalid) as refusal:
        load_request(local, allow_private_hosts=True)

    assert set(refusal.value.errors) == {"callback_url", "image_list.0.image", "n"}


def test_every_parti_prompt_is_a_valid_request(prompts: list[str]) -> None:
    requests = [load_request({"model": "kirin_image_omni", "prompt": prompt}) for prompt in prompts]

    assert len(requests) == 1632
    assert [GenerationRequest.from_text(request.text()) for request in requests] == requests


def test_photographs_are_valid_reference_images(photograph: Callable[[str], str]) -> None:
    subjects = [
        {"subject_image": photograph(name)} for name in ("chelsea.png", "rocket.jpg", "coffee.png", "horse.png")
    ]

    request = load_request(
        REFERENCE | {"subject_image_list": subjects, "scene_image": photograph("hubble_deep_field.jpg")}
    )

    assert request.params["subject_image_list"] == subjects
    small = _refused(REFERENCE | {"subject_image_list": [{"subject_image": photograph("microaneurysms.png")}]})
    assert "102 × 102 px" in small.errors["subject_image_list.0.subject_image"][0]


def test_both_models_are_registered() -> None:
    assert sorted(MODELS) == ["kirin_image_omni", "kirin_v2_1_reference2image"]


#: With lone surrogates, which JSON can encode.
_TEXT = st.text(st.characters(exclude_categories=()))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(
    [
        "prompt", "image_list", "subject_image_list", "scene_image", "style_image", "n", "aspect_ratio", "resolution",
        "watermark_info", "callback_url", "external_task_id", "labels",
    ]
)  # fmt: skip


@given(st.dictionaries(_NAMES | _TEXT, _JSON, max_size=6), st.sampled_from(sorted(MODELS)) | _TEXT)
def test_any_request_is_accepted_or_refused_with_an_error_that_can_be_encoded(
    members: dict[str, Any], model: str
) -> None:
    try:
        request = load_request(members | {"model": model})
    except RequestInvalid as refusal:
        assert refusal.errors  # noqa: PT017 - one of two documented outcomes
        str(refusal).encode("utf-8")
    else:
        assert GenerationRequest.from_text(request.text(), request.external_task_id) == request
        request.text().encode("utf-8")
