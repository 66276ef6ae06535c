"""Generation requests: one schema a model, and the record that a valid request becomes."""
