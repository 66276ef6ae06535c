-- Something happened at the provider: a callback that does not settle the attempt.
-- ARGV: id, attempt, '1' where only a poll can tell what happened ('0': it is known to be running)
-- Returns: {word, a hint to reconcile (0|1)}, word being unknown | stale | already | noted
arity(3)
local job = load(ARGV[1])
if not job or tonumber(ARGV[2]) > attempt_of(job) then return {answer_unknown(), 0} end
if tonumber(ARGV[2]) < attempt_of(job) then return {'stale', 0} end
local at = phase_of(job)
if not at then return {'already', 0} end
if at == 'queued' then
  if not job.sent and not needs_lookup(job) then return {answer_unknown(), 0} end
  -- The POST that was believed lost did arrive: not to be sent again.
  local now = clock()
  move(job, 'in_doubt', RECORD{doubt_since = now, exists = '1', reason = 'a callback came for it'}, now, now)
  return {'noted', reconcile_hint()}
end
if at == 'submitting' or at == 'in_doubt' then save(job, RECORD{exists = '1'}) end
if at == 'submitting' then return {'noted', 0} end
if at == 'in_progress' and ARGV[3] ~= '1' then return {'noted', 0} end
schedule_lookup(job, clock())
return {'noted', reconcile_hint()}
