-- Record that a refused Celery message was ended: its result is stored, and its errbacks were called.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 mark of the message
--       2 µs for which a mark is kept
--       3 most marks to keep
-- Returns: nothing
arity(3)
local now = clock()
redis.call('ZREM', KEY.refused, '?' .. ARGV[1])
redis.call('DEL', KEY.refusals .. ARGV[1])
redis.call('ZADD', KEY.refused, whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEY.refused, '-inf', whole(now - tonumber(ARGV[2])))
redis.call('ZREMRANGEBYRANK', KEY.refused, 0, -1 - tonumber(ARGV[3]))
