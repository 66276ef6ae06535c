-- Read the changed limits (jobs/limits.py).
-- KEYS[1]: the prefix of all keys
-- Returns: {now in µs, field, value, ...}
arity(0)
return {whole(clock()), unpack(redis.call('HGETALL', KEY.limits))}
