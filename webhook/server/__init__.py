"""How the webhook's process serves HTTP: gunicorn's threads, guarded against slow and numerous clients."""
