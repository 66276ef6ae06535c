-- Begin to end a Celery message that is refused. No job remembers that message, and the broker may deliver it again.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 mark of the message
--       2 µs for which the worker that ends it has it to itself
--       3 seconds for which the number of attempts is kept
-- Returns: {outcome, how often a worker began to end it before}
--   outcome: first (end it, then call end_refusal) | again (it was ended before) | busy (a worker is ending it)
arity(3)
if redis.call('ZSCORE', KEY.refused, ARGV[1]) then return {'again', 0} end
local begun, now = redis.call('ZSCORE', KEY.refused, '?' .. ARGV[1]), clock()
if begun and now < tonumber(begun) + tonumber(ARGV[2]) then return {'busy', 0} end
redis.call('ZADD', KEY.refused, whole(now), '?' .. ARGV[1])
local attempts = redis.call('INCR', KEY.refusals .. ARGV[1])
redis.call('EXPIRE', KEY.refusals .. ARGV[1], ARGV[3])
return {'first', attempts - 1}
