"""The commands of `boomerang-server`. Each reads its options, runs a use case and prints the result."""
