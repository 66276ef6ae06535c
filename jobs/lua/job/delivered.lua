-- Record that a delivery was made, failed and is to be tried again, or is given up. A delivery that is given up stays
-- in an index until an operator has it made again (redeliver.lua) or the job ends anew.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 kind of delivery, one letter (jobs.job.Delivery)
--       4 µs until it is tried again; '' if it was made; 'never' if it is given up
--       5 how often it was tried so far
--       6 why it failed, or ''
-- Returns: 'clear' (nothing is owed any more) | 'owed' | 'refused' (an older fence, or nothing is owed)
-- Who sends the notification may record it, also after another claim: that one may not send it.
arity(6)
local job, kind, wait = load(ARGV[1]), ARGV[3], ARGV[4]
if not job or not job.owed then return 'refused' end
local sends = kind == 'n' and job.notify_fence == ARGV[2]
if not sends and (job.delivery_fence or '0') ~= ARGV[2] then return 'refused' end
if wait == '' then return delivery_done(job, kind) end
if not string.find(job.owed, kind, 1, true) then return 'owed' end
if wait == 'never' then
  local left = delivery_done(job, kind)
  save(job, RECORD{undelivered = (job.undelivered or '') .. kind, delivery_error = ARGV[6]})
  redis.call('ZADD', KEY.undelivered, whole(clock()), job.id)
  return left
end
local now = clock()
save(job, kind == 'c' and RECORD{celery_tries = ARGV[5]} or RECORD{delivery_tries = ARGV[5], notify_fence = false})
if ARGV[6] ~= '' then save(job, RECORD{delivery_error = ARGV[6]}) end
schedule_kind(job, kind, now + tonumber(wait), now)
return 'owed'
