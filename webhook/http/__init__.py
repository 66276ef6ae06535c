"""What all endpoints share of HTTP: bodies, answers, errors, headers and addresses."""
