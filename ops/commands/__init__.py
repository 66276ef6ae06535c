"""The commands of `boomerang-server`: thin, over use cases."""
