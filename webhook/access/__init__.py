"""Who may call: keys, sessions, rate limits and the audit log."""
