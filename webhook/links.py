"""Addresses of saved results in the answers of this process."""

from flask import request

from jobs.links import Links
from webhook.services import services


def links() -> Links:
    """Return the links for the answer to the current request.

    Without BOOMERANG_LINK_URL and BOOMERANG_PUBLIC_URL they lead to the address that the client itself has used.
    """
    made = services().links
    if made.base is not None:
        return made
    proto = "https" if request.headers.get("X-Forwarded-Proto") == "https" else request.scheme
    return made.at(f"{proto}://{request.host}{request.root_path}")
