"""Results of a task: only plain http(s) URLs pass. The reason why another is left out does not quote it."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import Output
from schemas.outputs import MAX_URL, MOST_RESULTS, read_outputs

URL = "https://cdn.example.com/1.png"


@pytest.mark.parametrize(
    ("url", "read"),
    [
        (URL, URL),
        (f" {URL}\n", URL),
        ("HTTP://Example.com:8080/a?b=c#d", "HTTP://Example.com:8080/a?b=c#d"),
        ("http://127.0.0.1:18600/img/1.png", "http://127.0.0.1:18600/img/1.png"),
        ("https://[2001:db8::1]/a", "https://[2001:db8::1]/a"),
        ("https://h/=1+1|'x'!A1", "https://h/=1+1|'x'!A1".replace("|", "%7C")),
        ("https://h/a b/ä.png?q=é", "https://h/a%20b/%C3%A4.png?q=%C3%A9"),
        ("https://h/%20%zz", "https://h/%20%zz"),
        (f"https://h/{'a' * (MAX_URL - 10)}", f"https://h/{'a' * (MAX_URL - 10)}"),
    ],
)
def test_a_usable_url_is_kept(url: str, read: str) -> None:
    assert read_outputs([{"url": url}]).kept == (Output("image", read),)


@pytest.mark.parametrize(
    "url",
    [
        [URL], {"href": URL}, 7, True, "javascript:alert(1)", "data:image/png;base64,AAAA", "file:///etc/passwd",
        '=HYPERLINK("https://h")', "+1", "@SUM(1)", "//h/a", "/a", "h/a", "https:///a", "https://", "https://u:p@h/a",
        "https://u@h/a", "https://h:99999/a", "https://h:x/a", "https://[::1/a", "https://h\\@evil/a",
        "https://h/\x1b[31m", "https://h/a\tb", "https://h/a\r\nX: y", "https://h/\u202egnp", "https://h/\0",
        "https://h/\u2028a", 'https://"><script>/a', f"https://h/{'a' * MAX_URL}", f"https://h/{'é' * 3000}",
    ],
)  # fmt: skip
def test_any_other_url_is_left_out_and_not_quoted(url: Any) -> None:
    outputs = read_outputs([{"url": URL}, {"url": url}])

    assert [each.url for each in outputs.kept] == [URL]
    (problem,) = outputs.left_out
    assert problem.startswith("1 result whose URL ")
    assert problem.isprintable()
    assert str(url)[:9] not in problem or len(str(url)) < 3


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("image", "image"),
        ("video", "video"),
        ("Video/MP4", "video"),
        ("audio/mpeg", "audio"),
        ("image/png", "image"),
        ("png", "image"),
        ("=1+1", "image"),
        ("\x1b[31m", "image"),
        (None, "image"),
        (["image"], "image"),
    ],
)
def test_only_known_types_pass(written: object, read: str) -> None:
    assert read_outputs([{"type": written, "url": URL}]).kept == (Output(read, URL),)


@pytest.mark.parametrize(
    ("written", "read"), [(URL + "?wm", URL + "?wm"), ("javascript:1", None), ([URL], None), ("", None), (None, None)]
)
def test_the_watermarked_url_is_kept_if_it_is_usable(written: object, read: str | None) -> None:
    assert read_outputs([{"url": URL, "watermark_url": written}]).kept == (Output("image", URL, read),)


def test_more_results_than_any_job_may_have_are_left_out() -> None:
    outputs = read_outputs({"url": f"{URL}?{n}"} for n in range(50))

    assert [each.url for each in outputs.kept] == [f"{URL}?{n}" for n in range(MOST_RESULTS)]
    assert outputs.left_out == (f"{50 - MOST_RESULTS} results beyond the first {MOST_RESULTS}",)


def test_an_item_without_a_url_is_no_result() -> None:
    outputs = read_outputs([None, 7, "x", {}, {"url": ""}, {"url": None}, {"error": {"code": "1301"}}])

    assert outputs == read_outputs([])


_URLS = st.one_of(
    st.text(),
    st.builds("{}{}".format, st.sampled_from(["https://", "http://h/", "HTTPS://h:", "javascript:"]), st.text()),
    st.recursive(st.none() | st.integers(), st.lists, max_leaves=3),
)


@given(st.lists(st.fixed_dictionaries({"url": _URLS, "type": _URLS, "watermark_url": _URLS})))
@example([{"url": "https://h?\ud800", "type": "", "watermark_url": ""}])
def test_whatever_comes_only_plain_urls_pass(values: list[Any]) -> None:
    for each in read_outputs(values).kept:
        for url in filter(None, (each.url, each.watermark_url)):
            assert url.lower().startswith(("http://", "https://"))
            assert url.isascii()
            assert url.isprintable()
            assert not set(url) & set(' "<>\\^`{|}')
            assert len(url) <= MAX_URL
        assert each.type in {"image", "video", "audio"}
