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
arity(6)
local job, kind, wait = load(ARGV[1]), ARGV[3], ARGV[4]
if not job or not job.owed or (job.delivery_fence or '0') ~= ARGV[2] then return 'refused' end
if wait == '' then return delivery_done(job, kind) end
if not string.find(job.owed, kind, 1, true) then return 'owed' end
if wait == 'never' then
  local left = delivery_done(job, kind)
  save(job, RECORD{undelivered = (job.undelivered or '') .. kind, delivery_error = ARGV[6]})
  redis.call('ZADD', KEY.undelivered, whole(clock()), job.id)
  return left
end
save(job, RECORD{delivery_tries = ARGV[5], delivery_error = ARGV[6] ~= '' and ARGV[6] or nil})
local schedule = kind == 'n' and schedule_notification or schedule_delivery
schedule(job, clock() + tonumber(wait))
return 'owed'
