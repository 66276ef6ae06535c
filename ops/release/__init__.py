"""What a release is made of: the lock file and the wheels."""
