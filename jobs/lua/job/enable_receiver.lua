-- Enable a receiver of notifications that was disabled, and close its circuit breaker.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 owner
--       2 receiver
-- Returns: enabled | unknown (it was never notified, or not for long)
-- A repeat changes nothing.
arity(2)
local key = KEY.receiver .. ARGV[1] .. '|' .. ARGV[2]
if redis.call('EXISTS', key) == 0 then return 'unknown' end
redis.call('HDEL', key, 'disabled_at', 'failures', 'open_until', 'pause', 'failing_since')
redis.call('ZREM', KEY.open_receivers, ARGV[1] .. '|' .. ARGV[2])
return 'enabled'
