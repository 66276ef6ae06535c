"""Errors: one base class, and a remedy in every message."""

from boomerang_client import errors


def test_every_error_of_the_package_is_a_boomerang_error_with_a_remedy() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert all(issubclass(kind, errors.BoomerangError) for kind in kinds)
    for status in (400, 401, 403, 404, 409, 413, 415, 418, 422, 429, 500, 503):
        error = errors.api_error(status, None)
        assert error.remedy in str(error)
        assert isinstance(error, errors.ServiceUnavailable) is (status >= 500)
