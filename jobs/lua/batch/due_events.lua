-- Find the events of batches that are due, and move their alarms on by a lease.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 most
--       2 lease in µs
-- Returns: their ids
-- A repeat finds the next ones. The first ones are due again at the end of their lease.
arity(2)
local now = clock()
local due = redis.call('ZRANGEBYSCORE', KEY.event_alarms, '-inf', whole(now), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(due) do redis.call('ZADD', KEY.event_alarms, whole(now + tonumber(ARGV[2])), id) end
return due
