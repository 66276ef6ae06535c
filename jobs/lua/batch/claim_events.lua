-- Claim events of batches that are owed: each alarm moves on by a lease, and the fencing token rises.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2... ids
-- Returns: for each claimed event its fields as JSON, with `id` and `now` (µs)
-- A second run claims anew and refuses the holder of the first claim, unless that one sends it (begin_notification.lua).
if #ARGV < 2 then error('expected a lease and ids') end
local now, answer = clock(), {}
for i = 2, #ARGV do
  guarded(ARGV[i], now, function()
    local event = read_event(ARGV[i])
    if not event or not is_owed(event.state) then return end
    event.fence = whole(redis.call('HINCRBY', KEY.event .. event.id, 'fence', 1))
    redis.call('ZADD', KEY.event_alarms, whole(now + tonumber(ARGV[1])), event.id)
    event.now = whole(now)
    answer[#answer + 1] = cjson.encode(event)
  end)
end
return answer
