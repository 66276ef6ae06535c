"""Errors: one base class, and a remedy in every message."""

from boomerang_client import errors


def test_every_error_of_the_package_is_a_boomerang_error_with_a_remedy() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, errors.BoomerangError) for kind in kinds)
    for status in (400, 401, 403, 404, 409, 413, 415, 418, 422, 429, 500, 503):
        error = errors.api_error(status, None)
        assert error.remedy in str(error)
        assert isinstance(error, errors.ServiceUnavailable) is (status >= 500)


def test_an_answer_with_very_many_errors_is_cut_and_counted() -> None:
    many = {f"field{number}": ["is wrong"] * 50 for number in range(5_000)}
    long = {f"field{number}" + "x" * 3_000: ["is wrong" * 1_000] * 50 for number in range(20)}
    error = errors.api_error(422, {"title": "x" * 90_000, "detail": "x" * 90_000, "errors": many, "codes": ["x"] * 900})
    assert len(error.errors) == 22
    assert "4,979" in error.errors["request"][0]
    assert len(error.codes) <= 21
    assert len(str(error)) < 20_000
    assert len(str(errors.api_error(422, {"detail": "x", "errors": long}))) < 20_000

    lines = errors.line_errors([{"line": number, "errors": many} for number in range(3_000)])
    assert len(lines) == 1_000


def test_few_errors_are_kept_as_they_came() -> None:
    few = {f"field{number}": ["is wrong", "is ugly"] for number in range(20)}
    assert errors.field_errors(few) == {name: tuple(texts) for name, texts in few.items()}
