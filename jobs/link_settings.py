"""The settings of links to saved results, for the webhook, which serves them, and workers, which send them."""

from dataclasses import dataclass

from marshmallow import fields as ma
from marshmallow import validate

from jobs.connections.urls import url_of
from jobs.result_settings import A_DAY, ResultSettings
from jobs.secret_strength import MIN_SECRET, all_hard_to_guess
from jobs.setting import setting
from jobs.setting_readers import CommaSeparated


@dataclass(frozen=True, kw_only=True)
class LinkSettings(ResultSettings):
    """Where producers reach the webhook, and what signs links."""

    public_url: str | None = setting(
        "BOOMERANG_PUBLIC_URL",
        ma.String,
        None,
        "The URL at which the provider reaches the webhook. The worker builds callback addresses from it. Unset: the "
        "worker sends no callback address, and only polls settle jobs.",
        validate=url_of("http", "https"),
    )
    callback_secrets: tuple[str, ...] = setting(
        "BOOMERANG_CALLBACK_SECRETS",
        CommaSeparated,
        (),
        f"Comma-separated, at least {MIN_SECRET} characters each. The worker signs callback addresses with the first; "
        "the webhook accepts all. Worker and webhook need it if `BOOMERANG_PUBLIC_URL` is set; give it to no other "
        "process.",
        secret=True,
        validate=all_hard_to_guess,
    )
    link_url: str | None = setting(
        "BOOMERANG_LINK_URL",
        ma.String,
        None,
        "The URL at which producers reach the webhook, for [addresses of saved results](guides/save-results.md). "
        "Unset: `BOOMERANG_PUBLIC_URL`; without that, the address in the producer's request, and notifications and "
        "Celery results keep the provider's addresses.",
        validate=url_of("http", "https"),
    )
    link_secrets: tuple[str, ...] = setting(
        "BOOMERANG_LINK_SECRETS",
        CommaSeparated,
        (),
        f"Comma-separated, at least {MIN_SECRET} characters each. The first signs links to saved results, with which "
        "anybody can fetch them until they expire; all are accepted. Unset: keys derived from "
        "`BOOMERANG_CALLBACK_SECRETS`; without those, a saved result can be fetched only with a key.",
        secret=True,
        validate=all_hard_to_guess,
    )
    link_life: float = setting(
        "BOOMERANG_LINK_LIFE",
        ma.Float,
        A_DAY,
        "How long a link to a saved result works, at least 60. Every view of the job has a new one.",
        validate=validate.Range(min=60, max=366 * A_DAY),
    )

    @property
    def link_base(self) -> str | None:
        """The webhook's URL in links, as far as the settings know it."""
        return self.link_url or self.public_url

    @property
    def link_keys(self) -> tuple[str, ...]:
        """The secrets that sign links, the current one first."""
        return self.link_secrets or self.callback_secrets
