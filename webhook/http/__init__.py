"""HTTP for all endpoints: bodies, answers, errors, headers and client addresses."""
