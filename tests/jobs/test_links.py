"""Links open one output of one job, until they expire, with the secrets of this service."""

from datetime import UTC, datetime
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.links import NO_LINKS, Links

NEW, OLD = "the-current-secret-of-links", "the-former-secret-of-links"
NOW = 1_764_000_000.0
IDS = st.text(st.characters(codec="ascii", exclude_characters="\n/"), min_size=1, max_size=40)


def links(*secrets: str, now: float = NOW, life: float = 3600, base: str | None = "https://b.example/") -> Links:
    return Links(base, secrets, life, lambda: now)


def parts(url: str) -> tuple[str, int, int, str]:
    """Return job id, index, end and signature of a link."""
    split = urlsplit(url)
    *_, job_id, outputs, index = split.path.split("/")
    assert outputs == "outputs"
    query = parse_qs(split.query, strict_parsing=True)
    assert query.keys() == {"expires", "signature"}
    return unquote(job_id), int(index), int(query["expires"][0]), query["signature"][0]


@given(IDS, st.integers(0, 30))
def test_a_link_is_genuine_for_its_own_output_only(job_id: str, index: int) -> None:
    made = links(NEW).make(job_id, index)
    assert made is not None
    assert made.url.startswith("https://b.example/v1/jobs/")
    found, place, expires, signature = parts(made.url)
    assert (found, place) == (job_id, index)
    check = links(NEW).is_genuine
    assert check(job_id, index, expires, signature)
    others = [
        (job_id + "0", index, expires, signature),
        (job_id, index + 1, expires, signature),
        (job_id, index, expires + 1, signature),
        (job_id, index, expires, ""),
        (job_id, index, expires, signature[:-2]),
        (job_id, index, expires, "ä" + signature),
    ]
    assert [each for each in others if check(*each)] == []


@pytest.mark.parametrize(
    ("signed_with", "accepted", "genuine"),
    [
        ((NEW,), (NEW, OLD), True),
        ((OLD,), (NEW, OLD), True),
        ((OLD, NEW), (NEW,), False),
        ((NEW, OLD), (NEW,), True),
        ((NEW,), (OLD,), False),
        ((NEW,), (), False),
    ],
    ids=["current", "former", "dropped", "first signs", "another", "none"],
)
def test_secrets_are_rotated(signed_with: tuple[str, ...], accepted: tuple[str, ...], *, genuine: bool) -> None:
    made = links(*signed_with).make("fox@shop", 0)
    assert made is not None
    assert links(*accepted).is_genuine(*parts(made.url)) is genuine


@pytest.mark.parametrize("life", [60, 3600, 86_400 * 30])
def test_a_link_lives_at_least_as_long_as_it_should_and_little_longer(life: float) -> None:
    made = links(NEW, life=life).make("fox", 0)
    assert made is not None
    assert made.expires_at is not None
    lives = made.expires_at.timestamp() - NOW
    assert life <= lives <= life * 1.1 + 1
    end = int(made.expires_at.timestamp())
    assert not links(NEW, now=end - 1).has_expired(end)
    assert links(NEW, now=end).has_expired(end)


def test_two_answers_shortly_after_each_other_have_the_same_link() -> None:
    moments = [links(NEW, now=NOW + second).make("fox", 0) for second in range(300)]
    assert len(set(moments)) <= 2


def test_without_secrets_an_address_needs_a_key_and_without_a_base_there_is_none() -> None:
    bare = links().make("order:1@shop", 2)
    assert bare is not None
    assert (bare.url, bare.expires_at) == ("https://b.example/v1/jobs/order%3A1%40shop/outputs/2", None)
    assert NO_LINKS.make("fox", 0) is None
    elsewhere = links(NEW, base=None).at("http://other:8000/prefix/").make("fox", 0)
    assert elsewhere is not None
    assert elsewhere.url.startswith("http://other:8000/prefix/v1/jobs/fox/outputs/0?")
    assert elsewhere.expires_at is not None
    assert elsewhere.expires_at > datetime.fromtimestamp(NOW, UTC)
