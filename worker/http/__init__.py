"""Requests to addresses that strangers chose: bounded in time, size and destination."""
