from dataclasses import replace
from typing import Any

from schemas import CallbackForm, GenerationRequest, load_request

FULL = {
    "model": "kirin_image_omni",
    "prompt": "Füchse 🦊",
    "n": 3,
    "external_task_id": "job-1",
    "callback_url": "https://example.com/hook",
    "labels": {"b": "2", "a": "1"},
}


def test_the_text_is_canonical_and_has_no_id() -> None:
    assert load_request(FULL).text() == (
        '{"callback_url":"https://example.com/hook","labels":{"a":"1","b":"2"},"model":"kirin_image_omni",'
        '"params":{"n":3,"prompt":"Füchse 🦊"}}'
    )


def test_neither_the_order_of_members_nor_the_id_changes_the_text() -> None:
    other = dict(reversed(FULL.items())) | {"external_task_id": "job-2"}

    assert load_request(other).text() == load_request(FULL).text()


def test_another_label_callback_or_parameter_changes_the_text() -> None:
    text = load_request(FULL).text()

    changes: tuple[dict[str, Any], ...] = (
        {"n": 2},
        {"labels": {}},
        {"callback_url": "https://example.com/other"},
        {"resolution": "1k"},
    )
    for change in changes:
        assert load_request(FULL | change).text() != text


def test_the_request_is_read_back_from_its_text() -> None:
    request = load_request(FULL)

    again = GenerationRequest.from_text(request.text(), "job-1")

    assert again == request
    assert (again.n, again.labels, again.external_task_id) == (3, {"a": "1", "b": "2"}, "job-1")


def test_a_minimal_request_is_read_back_from_its_text() -> None:
    request = load_request({"model": "kirin_image_omni", "prompt": "x"})

    assert request.text() == '{"model":"kirin_image_omni","params":{"prompt":"x"}}'
    assert GenerationRequest.from_text(request.text()) == request


def test_the_callback_form_is_in_the_text_only_with_a_callback_url() -> None:
    with_url, without = load_request(FULL), load_request({"model": "kirin_image_omni", "prompt": "x"})
    as_task = replace(with_url, callback_form=CallbackForm.TASK)

    assert as_task.text() != with_url.text()
    assert GenerationRequest.from_text(as_task.text(), "job-1") == as_task
    assert replace(without, callback_form=CallbackForm.TASK).text() == without.text()
