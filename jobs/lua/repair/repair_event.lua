-- Check the events of a batch that are kept: an event has an alarm exactly while it is owed, stands in the index of its
-- state, and the batch counts those that are owed. Correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 batch id
-- Returns: {'event'} where something is wrong, else {}
-- An event whose hash is gone has no address any more, so it is left out.
arity(2)
local repairs, batch, now, owed, wrong = ARGV[1] == '1', ARGV[2], clock(), 0, false
for _, id in ipairs(redis.call('LRANGE', KEY.batch_events .. batch, 0, -1)) do
  local event = read_event(id)
  if event and event.state and event.owner then
    local index = notifications_in(event.state, event.owner)
    local alarm_at, indexed = redis.call('ZSCORE', KEY.event_alarms, id), redis.call('ZSCORE', index, id)
    if is_owed(event.state) then owed = owed + 1 end
    if is_owed(event.state) ~= (alarm_at and true or false) then
      wrong = true
      if repairs and not alarm_at then redis.call('ZADD', KEY.event_alarms, whole(now), id) end
      if repairs and alarm_at then redis.call('ZREM', KEY.event_alarms, id) end
    end
    -- The index of accepted notifications forgets its oldest.
    if not indexed and event.state ~= 'd' then
      wrong = true
      if repairs then redis.call('ZADD', index, whole(now), id) end
    end
  end
end
local counted = redis.call('HGET', KEY.batch .. batch, 'events_owed')
if counted and tonumber(counted) ~= owed then
  wrong = true
  if repairs then redis.call('HSET', KEY.batch .. batch, 'events_owed', owed) end
end
return wrong and {'event'} or {}
