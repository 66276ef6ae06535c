"""The Celery entry point: the task `boomerang.generate`, parked until its job ends."""
