-- Move the oldest minute of the history to its hour, once it is old enough, and forget the oldest hour.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 minutes that are kept
--       2 hours that are kept
-- Returns: 1 where a minute was moved, else 0
-- The counters are deleted where they were in the same step, so a repeat counts nothing twice.
arity(2)
local now = math.floor(clock() / 60000000)
local hour = redis.call('ZRANGEBYSCORE', KEY.ended_hours, '-inf', whole(math.floor(now / 60) - tonumber(ARGV[2])), 'LIMIT', 0, 1)[1]
if hour then
  redis.call('DEL', KEY.ended_hour .. hour)
  redis.call('ZREM', KEY.ended_hours, hour)
end
local minute = redis.call('ZRANGEBYSCORE', KEY.ended_minutes, '-inf', whole(now - tonumber(ARGV[1])), 'LIMIT', 0, 1)[1]
if not minute then return 0 end
local into = whole(math.floor(tonumber(minute) / 60))
-- A damaged one is deleted as well: it would stop the others.
pcall(function()
  local flat = redis.call('HGETALL', KEY.ended_minute .. minute)
  for i = 1, #flat, 2 do count_cell(KEY.ended_hour .. into, flat[i], flat[i + 1]) end
  redis.call('ZADD', KEY.ended_hours, into, into)
end)
redis.call('DEL', KEY.ended_minute .. minute)
redis.call('ZREM', KEY.ended_minutes, minute)
return 1
