"""Images by the hash of their bytes: stored once, in Redis or in a bucket."""
