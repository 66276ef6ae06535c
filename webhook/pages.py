"""What a person sees who opens the address in a browser, and the scripts of /docs, from this machine alone."""

from flask import Blueprint, Response, send_from_directory
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from webhook.openapi import ASSETS

blueprint = Blueprint("pages", __name__)

_INDEX = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Boomerang</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem}</style>
<h1>Boomerang</h1><p>Throw generation jobs at a slow API; they come back.</p>
<ul><li><a href="/docs">The API, to read and to try</a> (<a href="/openapi.json">OpenAPI</a>)</li>
<li><a href="/readyz">Is it ready?</a> (<a href="/healthz">Does it live?</a>)</li>
<li><a href="/metrics">Metrics</a></li></ul></html>
"""


@blueprint.get("/")
def index() -> Response:
    """Where to go from here."""
    return Response(_INDEX, content_type="text/html; charset=utf-8")


@blueprint.get(f"{ASSETS}<path:name>")
def asset(name: str) -> Response:
    """A file of Swagger UI."""
    return send_from_directory(swagger_ui_path, name, max_age=86_400)
