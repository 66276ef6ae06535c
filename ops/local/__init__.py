"""The whole service on one machine: its processes, their folder and their end."""
