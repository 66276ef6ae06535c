"""The session of requests for peers that are not trusted."""

import requests


class Session(requests.Session):
    """A session that follows no redirect and ignores proxies and .netrc of the environment.

    With `allow_redirects=False` alone, requests still prepares the next request: it reads and expands the whole body of
    the answer, and raises if it cannot parse the Location.
    """

    def __init__(self) -> None:
        super().__init__()
        # Reading them would take a quarter of a call's CPU.
        self.trust_env = False

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - the signature of requests
        """Return None: to this session, no answer is a redirect."""
        return None
