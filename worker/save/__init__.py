"""Saving the results of jobs."""
