-- Begin to end a Celery message that is refused. No job remembers that message, and the broker may deliver it again.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 mark of the message
--       2 µs for which the worker that ends it has it to itself
-- Returns: first (end it, then call end_refusal) | again (it was ended before) | busy (a worker is ending it)
arity(2)
if redis.call('ZSCORE', KEY.refused, ARGV[1]) then return 'again' end
local begun, now = redis.call('ZSCORE', KEY.refused, '?' .. ARGV[1]), clock()
if begun and now < tonumber(begun) + tonumber(ARGV[2]) then return 'busy' end
redis.call('ZADD', KEY.refused, whole(now), '?' .. ARGV[1])
return 'first'
