"""Serializers of jobs, batches, lanes and spending into JSON data, for the HTTP API, notifications and Celery results.

`schemas.views` documents these shapes, and tests compare the two. marshmallow does not serialize them, because it would
take more time than everything else for a line of results.
"""
