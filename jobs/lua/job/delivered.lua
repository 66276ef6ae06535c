-- Record that a delivery was made, failed and is to be tried again, or is given up. A delivery that is given up stays
-- in an index until an operator has it made again (redeliver.lua) or the job ends anew.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 kind of delivery, one letter (jobs.job.Delivery)
--       4 µs until it is tried again; '' if it was made; 'never' if it is given up
--       5 how often it was tried so far
--       6 why it failed, or ''
--       7 the attempt of a notification for its log, as JSON; '' where none was made
-- Returns: 'clear' (nothing is owed any more) | 'owed' | 'refused' (an older fence, or nothing is owed)
-- Who sends the notification may record it, also after another claim: that one may not send it.
arity(7)
local job, kind, wait = load(ARGV[1]), ARGV[3], ARGV[4]
if not job or not job.owed then return 'refused' end
local sends = kind == 'n' and job.notify_fence == ARGV[2]
if not sends and (job.delivery_fence or '0') ~= ARGV[2] then return 'refused' end
local now, change = clock(), {}
if not string.find(job.owed, kind, 1, true) then return 'owed' end
if kind == 'n' then
  log_attempt(job.id, ARGV[7])
  local state = 'f'
  if wait == '' then state = ARGV[7] ~= '' and 'd' elseif wait == 'never' then state = 'g' end
  if wait == '' or wait == 'never' or ARGV[7] ~= '' then note_notification(job, change, state, now) end
end
if wait == '' then
  note_event(job, change, kind == 'n' and EVENT.notified or EVENT.celery_finished, now)
  return delivery_done(job, kind, change)
end
if wait == 'never' then
  local left = delivery_done(job, kind, {})
  change.undelivered, change.delivery_error = (job.undelivered or '') .. kind, ARGV[6]
  note_event(job, change, EVENT.delivery_given_up, now)
  save(job, change)
  redis.call('ZADD', KEY.undelivered, whole(now), job.id)
  return left
end
if kind == 'c' then
  change.celery_tries = ARGV[5]
else
  if ARGV[7] ~= '' and ARGV[5] ~= job.delivery_tries then note_event(job, change, EVENT.notification_failed, now) end
  change.delivery_tries, change.notify_fence = ARGV[5], false
end
if ARGV[6] ~= '' then change.delivery_error = ARGV[6] end
save(job, change)
schedule_kind(job, kind, now + tonumber(wait), now)
return 'owed'
