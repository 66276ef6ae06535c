"""Do with docker-compose.yml what a user of the docs does, on a real engine, and check it line by line."""
