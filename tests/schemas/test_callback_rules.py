import pytest

from schemas import CallbackRules, RequestInvalid, load_request

WEB = CallbackRules(ports=(80, 443))


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example.com/hook",
        "http://shop.example.com",
        "https://shop.example.com:443/",
        "http://shop.example.com:443/",
        "https://shop.example.com:80/",
    ],
)
def test_the_ports_of_the_web_are_allowed(url: str) -> None:
    assert WEB.problem(url) is None


@pytest.mark.parametrize("port", [1, 22, 25, 6379, 8080, 8443, 65535])
def test_other_ports_are_refused_unless_allowed(port: int) -> None:
    url = f"https://shop.example.com:{port}/"
    assert str(port) in (WEB.problem(url) or "")
    assert CallbackRules(ports=(443, port)).problem(url) is None
    assert CallbackRules().problem(url) is None
    with pytest.raises(RequestInvalid) as caught:
        load_request({"model": "kirin_image_omni", "callback_url": url}, callbacks=WEB)
    # Beside the other mistakes
    assert set(caught.value.errors) == {"callback_url", "prompt"}


@pytest.mark.parametrize(
    ("allowed", "host", "fits"),
    [
        ("shop.example.com", "shop.example.com", True),
        ("shop.example.com", "SHOP.example.com.", True),
        ("shop.example.com", "hooks.shop.example.com", False),
        ("shop.example.com", "evilshop.example.com", False),
        ("shop.example.com", "shop.example.com.evil.com", False),
        ("*.example.com", "shop.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "evilexample.com", False),
        ("*", "anything.example.net", True),
        ("203.0.113.7", "203.0.113.7", True),
        ("[2001:db8::7]", "[2001:db8::7]", True),
    ],
)
def test_a_key_is_notified_at_its_hosts_only(allowed: str, host: str, fits: bool) -> None:
    rules = CallbackRules(hosts=("hooks.other.example", allowed))
    assert (rules.problem(f"https://{host}/hook") is None) == fits


def test_the_rules_of_one_request_do_not_apply_to_the_next() -> None:
    request = {"model": "kirin_image_omni", "prompt": "a fox", "callback_url": "https://shop.example.com:8443/"}
    with pytest.raises(RequestInvalid):
        load_request(request, callbacks=WEB)
    assert load_request(request).callback_url == request["callback_url"]
