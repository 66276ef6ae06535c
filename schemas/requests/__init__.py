"""Generation requests: a schema for each model, and the record of a valid request."""
