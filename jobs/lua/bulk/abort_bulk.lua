-- Abort a bulk action: no step follows. What it has changed stays.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 its id
--       2 who aborts it: a producer, or '*'
-- Returns: outcome: aborted | already (it is over) | unknown
arity(2)
local key = KEY.bulk .. ARGV[1]
local owner, state = unpack(redis.call('HMGET', key, 'owner', 'state'))
if not state or not is_of(owner, ARGV[2]) then return 'unknown' end
if state ~= 'running' then return 'already' end
redis.call('HSET', key, 'state', 'aborted', 'ended', whole(clock()))
redis.call('ZREM', KEY.bulks, ARGV[1])
return 'aborted'
