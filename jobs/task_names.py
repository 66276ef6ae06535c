"""The names of the Celery tasks.

The queue of each task has the same name, except that of `GENERATE` (BOOMERANG_GENERATE_QUEUE). Messages are routed by
queue only: a broker silently drops a message for an exchange whose binding was lost.
"""

GENERATE = "boomerang.generate"
SUBMIT = "boomerang.submit"
RECONCILE = "boomerang.reconcile"
DELIVER = "boomerang.deliver"
SAVE = "boomerang.save"
