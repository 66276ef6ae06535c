-- Change limits of lanes or keys (jobs/limits.py).
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 how many limits get a value
--       2... field and value of each, then the fields of limits that get their configured values back
-- Returns: nothing
local count = tonumber(ARGV[1])
for i = 1, count do redis.call('HSET', KEY.limits, ARGV[2 * i], ARGV[2 * i + 1]) end
for i = 2 * count + 2, #ARGV do redis.call('HDEL', KEY.limits, ARGV[i]) end
