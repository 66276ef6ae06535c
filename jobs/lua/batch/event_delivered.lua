-- Record that the notification of a batch's event was accepted, failed and is to be tried again, or is given up.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 event id
--       2 fence of the claim
--       3 µs until it is tried again; '' if it was accepted; 'never' if it is given up
--       4 how often it was tried so far
--       5 why it failed, or ''
--       6 the attempt for its log, as JSON; '' where none was made
-- Returns: 'clear' (it is not owed any more) | 'owed' | 'refused' (an older fence, or it is not owed)
arity(6)
local event, wait = read_event(ARGV[1]), ARGV[3]
if not event or not is_owed(event.state) or ARGV[2] ~= event.fence and ARGV[2] ~= event.sender then return 'refused' end
local now = clock()
log_attempt(event.id, ARGV[6])
redis.call('HDEL', KEY.event .. event.id, 'sender')
redis.call('HSET', KEY.event .. event.id, 'tries', ARGV[4], 'error', ARGV[5])
if wait == '' or wait == 'never' then
  set_event_state(event, wait == '' and 'd' or 'g', now)
  return 'clear'
end
if ARGV[6] ~= '' then set_event_state(event, 'f', now) end
redis.call('ZADD', KEY.event_alarms, whole(now + tonumber(wait)), event.id)
return 'owed'
