"""Pictures of the dashboard's pages for its documentation, from the demo's jobs: `make screenshots`."""
