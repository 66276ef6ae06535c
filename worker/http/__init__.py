"""HTTP requests with bounds on time, size and destination."""
