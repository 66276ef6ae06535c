-- Read the changed limits (jobs/limits.py).
-- KEYS[1]: the prefix of all keys
-- ARGV: none
-- Returns: {now in µs, {field, value, ...}}. Where the key is damaged, which the audit reports, the configured limits
--   hold.
arity(0)
local stored = redis.pcall('HGETALL', KEY.limits)
return {whole(clock()), stored.err and {} or stored}
