-- Record how an attempt to save a job's results ended.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 '' if they are saved; µs until it is tried again; 'never' if it is given up
--       4 result as JSON, as it was read; only where they are saved
--       5 the same with the saved outputs
--       6 why it failed, or ''
-- Returns: {outcome, 1 where deliveries are due now that waited for it}; outcome:
--   saved | owed | unsaved (on the list of unsaved results)
--   changed  the result is not as it was read: read it again
--   refused  an older fence, or nothing is to be saved
-- A repeat is refused.
arity(6)
local job, wait = load(ARGV[1]), ARGV[3]
if not job or not job.save_since or (job.save_fence or '0') ~= ARGV[2] then return {'refused', 0} end
local now, queue = clock(), save_queue_of(job)
if wait == '' then
  if redis.call('GET', KEY.result .. job.id) ~= ARGV[4] then return {'changed', 0} end
  redis.call('SET', KEY.result .. job.id, ARGV[5])
  local due = release_deliveries(job, now)
  forget_save(job, now)
  redis.call('HINCRBY', KEY.totals, 'saved', 1)
  return {'saved', due}
end
local tries = tonumber(job.save_tries or 0) + 1
if wait == 'never' then
  local due = release_deliveries(job, now)
  save(job, RECORD{save_tries = tries})
  give_up_save(job, now, ARGV[6])
  return {'unsaved', due}
end
redis.call('ZREM', KEY.saving, queue .. '|' .. job.id)
local at = now + tonumber(wait)
redis.call('ZADD', KEY.save_queue .. queue, whole(at), job.id)
local repeats = job.save_error == ARGV[6] and tonumber(job.save_repeats or 0) + 1 or false
-- The next try has a fence of its own, so a repeat of this call counts no try.
save(job, RECORD{save_tries = tries, save_error = ARGV[6], save_repeats = repeats, save_at = at,
  save_fence = tonumber(job.save_fence) + 1})
return {'owed', 0}
