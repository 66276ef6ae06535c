"""The outcomes that the Lua verbs return: one enum a verb. The headers of the Lua files say what each means.

`Outcome` (jobs.new_job) is that of `enqueue` and `stage`.
"""
