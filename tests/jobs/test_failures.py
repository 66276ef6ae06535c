import pytest

from jobs.failures import CODES, FailureClass, classify, codes_of
from jobs.policy import WORTH_RETRYING
from schemas.states import FAILURE_CLASSES
from worker.provider.outcomes import ACCOUNT, PERMANENT, THROTTLED


def test_the_api_names_every_class() -> None:
    assert tuple(map(str, FailureClass)) == FAILURE_CLASSES


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("1301", FailureClass.MODERATION),
        ("1102", FailureClass.QUOTA),
        ("002016002", FailureClass.INVALID),
        ("422", FailureClass.INVALID),
        ("002016097", FailureClass.TRANSIENT),
        ("no_output", FailureClass.PROVIDER),
        ("", FailureClass.PROVIDER),
        ("a code of tomorrow", FailureClass.PROVIDER),
    ],
)
def test_each_code_has_one_class(code: str, expected: FailureClass) -> None:
    assert classify(code) is expected
    assert [each for each in FailureClass if code in codes_of(each, [code])] == [expected]


def test_classes_agree_with_what_the_worker_does() -> None:
    assert {classify(code) for code in ACCOUNT} == {FailureClass.QUOTA}
    assert {classify(code) for code in PERMANENT} == {FailureClass.INVALID, FailureClass.MODERATION}
    assert {classify(code) for code in THROTTLED | WORTH_RETRYING} == {FailureClass.TRANSIENT}
    assert all(each.meaning for each in CODES.values())
