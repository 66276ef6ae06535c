-- Pause a lane: nothing is submitted through it until it is resumed, or the pause ends. What was sent is still polled,
-- and settled by callbacks.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lane
--       2 '1' to pause it, '0' to resume it
--       3 µs until the pause ends; '' for never
--       4 reason
-- Returns: {outcome, 1 to send an admission hint}; outcome: 'paused' | 'resumed' | 'already' (resumed: it is not paused)
-- A second pause replaces the first.
arity(4)
local lane, now = KEY.lane .. ARGV[1], clock()
if ARGV[2] ~= '1' then
  local was = redis.call('HEXISTS', lane, 'paused') == 1
  redis.call('HDEL', lane, 'paused', 'paused_until', 'paused_why')
  return {was and 'resumed' or 'already', admit_hint(now)}
end
redis.call('HSETNX', lane, 'paused', whole(now))
redis.call('HSET', lane, 'paused_why', ARGV[4])
if ARGV[3] == '' then
  redis.call('HDEL', lane, 'paused_until')
else
  redis.call('HSET', lane, 'paused_until', whole(now + tonumber(ARGV[3])))
end
redis.call('SADD', KEY.lanes, ARGV[1])
return {'paused', 0}
