"""Run docker-compose.yml on a real engine, use it as the docs describe, and check every line of it."""
