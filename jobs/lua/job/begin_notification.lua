-- Ask for a place to notify a producer. Without one, the job waits: end_notification.lua returns it when there is one,
-- and its alarm asks again.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 id of a job, or of an event of a batch
--       2 fence of the claim of its deliveries
--       3 receiver (jobs/receivers.py)
--       4 most places of all owners
--       5 '1' to send it although the breaker is open, one at a time: the last chance of a job that was never sent
-- Returns: {outcome, owner, µs for which the receiver's breaker stays open}; outcome:
--   granted  the caller has a place until it calls end_notification, or the lease ends
--   waits    all places are taken
--   open     the breaker is open
--   disabled the receiver is disabled: it has failed for too long
--   refused  an older fence, no notification is owed, or another worker sends it: that one records it
-- A repeat has the same outcome: a job has at most one place.
arity(5)
local notification, receiver, limit = owed_notification(ARGV[1], load), ARGV[3], tonumber(ARGV[4])
if not notification or notification.fence ~= ARGV[2] then return {'refused', '', 0} end
local now, owner, id = clock(), notification.owner, ARGV[1]
local name = owner .. '|' .. receiver
local places = count_places(KEY.notifying, now)
local outcome, pause = 'granted', 0
if places.has[name .. '|' .. id] and notification.sender and notification.sender ~= ARGV[2] then
  schedule_notification(notification, now + NOTIFICATION_LEASE, now)
  return {'refused', '', 0}
end
if not places.has[name .. '|' .. id] then
  outcome, pause = ask_receiver(places, name, now)
  if outcome == 'open' and ARGV[5] == '1' then outcome = places.receiver[name] and 'waits' or 'granted' end
  if outcome == 'granted' and not owner_has_room(places, owner, limit) then outcome = 'waits' end
end
set_sender(notification, outcome == 'granted' and ARGV[2])
if outcome == 'granted' then
  take_place(places, owner, receiver, id, now)
  local job = notification.of
  if job and #job.owed > 1 then schedule_kind(job, 'n', now + NOTIFICATION_LEASE, now) end
elseif outcome ~= 'waits' then
  stop_waiting(owner, receiver, id)
else
  redis.call('ZADD', KEY.waiting .. name, 'NX', whole(now), id)
  redis.call('ZADD', KEY.waiting_receivers .. owner, 'NX', whole(now), receiver)
  redis.call('ZADD', KEY.waiting_owners, 'NX', whole(now), owner)
  local wait = WAITING_RECHECK + WAITING_RECHECK_EACH * redis.call('ZCARD', KEY.waiting .. name)
  schedule_notification(notification, now + math.min(wait, LONGEST_WAITING_RECHECK), now)
end
return {outcome, owner, whole(pause)}
