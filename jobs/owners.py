"""Who a job belongs to: the name of a producer's key, or one of these names, which no key has."""

#: Jobs that came by Celery. All services that may write to the broker share them.
CELERY = "celery"
#: A caller who may see and change the jobs of every producer: an operator, or a key with the scope `admin`.
ANYONE = "*"
