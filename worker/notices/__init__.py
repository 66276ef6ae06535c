"""Notices to people through Apprise: Slack, e-mail, ntfy and others."""
