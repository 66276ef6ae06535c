"""The Flask app of the webhook process: callbacks, the HTTP API, health, metrics and the pages."""

from flask import Flask

from jobs.api_keys import KeyRing
from jobs.ended_sessions import EndedSessions
from jobs.store.store import Store
from webhook import callbacks, health, pages, places
from webhook.access import audit_log, auth, protection, sessions
from webhook.access.api_keys import KnownKeys
from webhook.access.rate_limits import RateLimits, read_rates
from webhook.api import (
    audit_trail,
    batch_actions,
    batch_events,
    batch_images,
    batch_results,
    batches,
    bulk,
    deliveries,
    history,
    images,
    jobs,
    lanes,
    limits,
    openapi,
    outputs,
    ownership,
    provider_compat,
    reviews,
    spend,
)
from webhook.http import problems, security_headers
from webhook.messages import Messages
from webhook.metrics import StateCollector
from webhook.pages import static_files
from webhook.services import Send, Services
from webhook.settings import Settings

#: The blueprints of the documented API.
API = (
    jobs.blueprint,
    bulk.blueprint,
    outputs.blueprint,
    reviews.blueprint,
    lanes.blueprint,
    limits.blueprint,
    batches.blueprint,
    batch_actions.blueprint,
    batch_results.blueprint,
    batch_images.blueprint,
    batch_events.blueprint,
    deliveries.blueprint,
    images.blueprint,
    spend.blueprint,
    history.blueprint,
    audit_trail.blueprint,
    provider_compat.blueprint,
)


def create_app(settings: Settings, store: Store | None = None, send: Send | None = None) -> Flask:
    """Make the app. Nothing connects until a request needs it.

    `store` and `send(task, *args) -> bool` replace those that the settings describe.
    """
    app = Flask(__name__)
    # webhook.http.bodies limits the size of bodies: Flask's own limit cuts chunked bodies off silently.
    app.config.update(MAX_CONTENT_LENGTH=None, MAX_FORM_MEMORY_SIZE=0, PROPAGATE_EXCEPTIONS=False)
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = static_files.MAX_AGE
    messages = Messages(settings)
    shared = Services(settings, send or messages.send, messages.ping, store)
    shared.counters.registry.register(StateCollector(lambda: shared.store))
    app.extensions["boomerang"] = shared

    sessions.set_up(app, settings.session_secret)
    for plain in (callbacks.blueprint, health.blueprint, pages.blueprint):
        app.register_blueprint(plain)
    openapi.serve(app, API)
    problems.register(
        app, [(provider_compat.is_asked, provider_compat.refused), (pages.asks_for_page, pages.error_page)]
    )
    keys = KnownKeys(settings.keys, lambda: KeyRing(shared.store.context.client, shared.store.context.keys))
    authenticator = auth.Authenticator(
        keys,
        lambda: EndedSessions(shared.store.context.client, shared.store.context.keys),
        RateLimits(read_rates(settings.rate_limit)),
        settings.trusted_proxies,
        metrics_token=settings.metrics_token,
        links=shared.links,
    )
    places.set_up(app)
    audit_log.install(app, shared.record)
    protection.protect(app, authenticator)
    ownership.protect(app)
    # After `protection.protect`: without a session, a form without its token leads to the login page.
    security_headers.set_up(app, machines_only=callbacks.blueprint, api=API)
    return app
