"""`boomerang-server doctor`: what a new operator gets wrong, found before it costs anything."""
