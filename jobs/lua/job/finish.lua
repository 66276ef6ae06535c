-- An attempt is over. The first word counts; a later one, even a contradicting one, changes nothing.
-- ARGV: id, attempt, fence ('' for a callback), 'completed' | 'failed', result as JSON, cost in nano-dollars or '',
--       settled by, µs until the next attempt ('' for none)
-- Returns: {word, state, a hint to admit (0|1), whether deliveries are owed (0|1)}, word being
--   finished  the job has ended now, or a late result was taken in
--   again     the next attempt is queued
--   already   it had ended before        contradicted  the same, and otherwise than now said
--   stale     an older attempt, or an older fence      unknown  no such job or attempt
arity(8)
local job = load(ARGV[1])
local said, result, cost, by, wait = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
if said ~= 'completed' and said ~= 'failed' then error('expected completed or failed, not ' .. said) end
if not job then return {answer_unknown(), '', 0, 0} end
local given = tonumber(ARGV[2])
if given > attempt_of(job) then return {answer_unknown(), job.s, 0, 0} end
if given < attempt_of(job) or not holds_fence(job, ARGV[3]) then return {'stale', job.s, 0, 0} end
local at = phase_of(job)
if not at then
  if (job.s == 'completed' or job.s == 'failed') and job.s ~= said then
    redis.call('HINCRBY', KEY.totals, 'contradicted', 1)
    return {'contradicted', job.s, 0, 0}
  end
  return {'already', job.s, 0, 0}
end
if at == 'queued' and not job.q and not needs_lookup(job) then return {answer_unknown(), job.s, 0, 0} end

local now = clock()
record_cost(job, cost, said == 'completed', now)
record_durations(job, now)
if at == 'submitting' then record_acceptance(job, now, said == 'completed') end
if said == 'failed' then cut_limit_by_task(job, code_of(result), now) end
if ARGV[3] ~= '' then record_call(job.L or DEFAULT_LANE, 'answer') end
if wait ~= '' and not FINAL[job.s] then
  local change = {a = attempt_of(job) + 1, q = false, t = false, d = false, l = false, x = false, v = false, k = false}
  change.r = 'attempt ' .. attempt_of(job) .. ' failed; the next one waits'
  move(job, 'queued', change, now, now + tonumber(wait))
  return {'again', 'queued', admit_hint(now), 0}
end

redis.call('SET', KEY.result .. job.id, result)
local before = FINAL[job.s]
local change = {p = false, y = by, d = false, l = false, x = false, v = false, r = false, k = false, z = false, i = false}
if job.s == 'cancelled' then
  move(job, 'cancelled', change, now, job.g and tonumber(job.i) or false)
else
  change.e, change.g, change.h, change.j = now, owed_at_end(job, before), false, outdate_deliveries(job)
  forget_undelivered(job, change)
  move(job, said, change, now, change.g and now or false)
  if said == 'failed' and job.b then count_failure(job.b, result, 1) end
end
return {'finished', job.s, admit_hint(now), job.g and 1 or 0}
