"""Access: keys, sessions, rate limits and the audit log."""
