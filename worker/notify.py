"""Telling a producer at its callback_url that a job has ended.

The address is the producer's, so the request goes through a client that resolves it once, refuses addresses that are
not public, connects to the one it checked, and follows no redirect (requests-hardened).
"""

import json
from datetime import UTC, datetime

import requests
from requests_hardened import Config, HTTPSession

from jobs.record import Job
from jobs.shown import shown_job
from jobs.shown_task import shown_task
from schemas import CallbackForm
from schemas.signatures import signed
from schemas.views import JobView
from worker.errors import NotifyFailed
from worker.settings import Settings

#: (connect, read) in seconds: a notification is an acknowledgement, not a place to work.
TIMEOUT = (3.05, 10.0)
_view = JobView()


class Notifier:
    """Posts a job as JSON: its view, or the provider's form of it.

    `webhook-id` is the same whenever the same end is told again; with BOOMERANG_NOTIFY_SECRETS the post is signed by
    Standard Webhooks.
    """

    def __init__(self, settings: Settings) -> None:
        self._secrets = settings.notify_secrets
        self._config = Config(
            ip_filter_enable=not settings.allow_private_hosts,
            ip_filter_allow_loopback_ips=False,
            never_redirect=True,
            default_timeout=TIMEOUT,
            user_agent_override="boomerang",
        )

    def __call__(self, job: Job, url: str, form: CallbackForm = CallbackForm.JOB) -> None:
        """Raises NotifyFailed unless the answer is a 2xx."""
        shown = shown_task(job) if form is CallbackForm.TASK else _view.dump(shown_job(job))
        body = json.dumps(shown, ensure_ascii=False)
        message_id = f"{job.external_task_id}.{job.state}"
        headers = {"Content-Type": "application/json", "webhook-id": message_id}
        if self._secrets:
            headers |= signed(message_id, datetime.now(UTC), body, self._secrets)
        try:
            with HTTPSession(self._config) as session:
                session.trust_env = False
                with session.post(url, data=body.encode(), headers=headers, stream=True) as answer:
                    status = answer.status_code
        except (requests.RequestException, OSError) as error:
            raise NotifyFailed(type(error).__name__) from error
        if not requests.codes.ok <= status < requests.codes.multiple_choices:
            raise NotifyFailed(f"it answered {status}")
