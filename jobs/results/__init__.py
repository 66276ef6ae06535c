"""The saved results of jobs: where they are in the result store, and how the service stores and serves them."""
