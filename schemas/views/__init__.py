"""What the HTTP API answers: one schema for each JSON object, and the source of the OpenAPI document."""
