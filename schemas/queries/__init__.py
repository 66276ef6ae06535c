"""Query parameters of the HTTP API: a schema for each operation."""
