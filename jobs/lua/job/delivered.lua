-- A delivery was made, or failed: it is tried again later, or given up.
-- ARGV: id, fence of the claim, kind (one letter), µs until the next try ('' when it was made, 'never' when it is given up),
--       how many tries that were, why it failed or ''
-- Returns: 'clear' | 'owed' | 'refused'
-- What is given up stands in an index, until it is tried again by hand (redeliver.lua) or there is another end.
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
schedule_delivery(job, clock() + tonumber(wait))
return 'owed'
