-- Pause a lane: nothing is submitted through it until it is resumed, or the pause ends. What was sent is still polled,
-- and settled by callbacks.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lane
--       2 '1' to pause it, '0' to resume it
--       3 µs until the pause ends; '' for never
--       4 reason
-- Returns: 1 where the caller is to send an admission hint, else 0
-- A second pause replaces the first, but keeps its beginning.
arity(4)
local lane, now = KEY.lane .. ARGV[1], clock()
if ARGV[2] ~= '1' then
  redis.call('HDEL', lane, 'paused', 'paused_until', 'paused_why')
  return admit_hint(now)
end
local paused, till = unpack(redis.call('HMGET', lane, 'paused', 'paused_until'))
if not is_pause(paused, till, now) then redis.call('HSET', lane, 'paused', whole(now)) end
redis.call('HSET', lane, 'paused_why', ARGV[4])
if ARGV[3] == '' then
  redis.call('HDEL', lane, 'paused_until')
else
  redis.call('HSET', lane, 'paused_until', whole(now + tonumber(ARGV[3])))
end
redis.call('SADD', KEY.lanes, ARGV[1])
return 0
