import hashlib
import hmac
from base64 import urlsafe_b64encode
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import callback_address, callback_path, token_is_valid
from schemas.callback_address import key_id

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def _split(path: str) -> tuple[str, str]:
    _, head, identifier, token = path.split("/")
    assert head == "callbacks"
    return unquote(identifier), token


#: Made with openssl: printf %s 'job-1~2' | openssl dgst -sha256 -hmac s3cret -binary | base64 | tr +/ -_ | cut -c1-32;
#: the key's id likewise, from 'boomerang callback key id', with cut -c1-6.
KEY_ID, PROOF = "OTvwGy", "MBgiyCY5fyN4liHviAPfmu6pF6qbQnuQ"


def test_the_path_of_a_job_and_a_secret_never_changes() -> None:
    assert callback_path("job-1~2", "s3cret") == f"/callbacks/job-1~2/{KEY_ID}.{PROOF}"


def test_the_proof_is_an_hmac_over_the_external_id() -> None:
    digest = hmac.new(b"s3cret", b"job-1", hashlib.sha256).digest()

    name, token = _split(callback_path("job-1", "s3cret"))

    assert (name, token.partition(".")[2]) == ("job-1", urlsafe_b64encode(digest).decode()[:32])


def test_a_token_without_a_key_id_is_still_valid() -> None:
    assert token_is_valid("job-1~2", PROOF, ["newer", "s3cret"])
    assert not token_is_valid("job-1~2", PROOF, ["newer"])


def test_a_token_is_verified_only_with_the_secret_that_it_names() -> None:
    other = key_id("newer")
    assert other != KEY_ID
    assert token_is_valid("job-1~2", f"{KEY_ID}.{PROOF}", ["newer", "s3cret"])
    for named in (f"{other}.{PROOF}", f"absent.{PROOF}", f".{PROOF}", f"{KEY_ID}..{PROOF}"):
        assert not token_is_valid("job-1~2", named, ["newer", "s3cret"])


def test_secrets_with_the_same_id_are_all_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callback_address, "key_id", lambda _: "same12")
    for secret in ("first", "second"):
        _, token = _split(callback_path("job-1", secret))
        assert token.startswith("same12.")
        assert token_is_valid("job-1", token, ["first", "second"])


@pytest.mark.parametrize("identifier", ["job-1", "job-1~2", "a.b_c:d", "a/b?c#d %e", "jöb"])
def test_a_path_holds_a_valid_token_for_its_job(identifier: str) -> None:
    unquoted, token = _split(callback_path(identifier, "new"))

    assert unquoted == identifier
    assert len(token.partition(".")[2]) == 32
    assert token_is_valid(identifier, token, ["new", "old"])
    assert token_is_valid(identifier, token, ["newer", "new"])


@pytest.mark.parametrize(
    ("identifier", "secrets"),
    [("job-2", ["s3cret"]), ("job-1~2", ["s3cret"]), ("job-1", ["other"]), ("job-1", []), ("job-1", [""])],
    ids=["other job", "other attempt", "other secret", "no secret", "empty secret"],
)
def test_a_token_is_refused_for_another_job_attempt_or_secret(identifier: str, secrets: list[str]) -> None:
    _, token = _split(callback_path("job-1", "s3cret"))

    assert not token_is_valid(identifier, token, secrets)


def test_an_empty_secret_signs_nothing_and_verifies_nothing() -> None:
    forged = urlsafe_b64encode(hmac.digest(b"", b"job-1", "sha256")).decode()[:32]

    assert not token_is_valid("job-1", forged, ["", "s3cret"])
    assert not token_is_valid("job-1", f"{key_id('')}.{forged}", ["", "s3cret"])
    with pytest.raises(ValueError, match="BOOMERANG_CALLBACK_SECRETS"):
        callback_path("job-1", "")


def test_an_altered_token_is_refused() -> None:
    _, token = _split(callback_path("job-1", "s3cret"))

    for other in ("", ".", token[:-1], token + "=", token.swapcase(), f" {token}", token.partition(".")[0]):
        assert not token_is_valid("job-1", other, ["s3cret"])


@given(ANY_TEXT, ANY_TEXT, st.lists(ANY_TEXT, max_size=3))
def test_any_text_is_refused_without_an_error(identifier: str, token: str, secrets: list[str]) -> None:
    assert token_is_valid(identifier, token, secrets) is False
