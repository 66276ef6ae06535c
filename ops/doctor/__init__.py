"""`boomerang-server doctor`: find mistakes in an installation before they cost jobs or money."""
