"""Tools for a release: lock files, advisories about dependencies, and the list of packages in an image."""
