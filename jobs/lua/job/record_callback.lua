-- Record a callback that does not settle the attempt.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 attempt
--       3 '1' where only a poll can find out what happened; '0' where the attempt is known to be running
-- Returns: {outcome, 1 to send a reconcile hint}
--   outcome: noted | stale (an older attempt) | already (the attempt is over) | unknown (no such job or attempt)
arity(3)
local job = load(ARGV[1])
if not job or tonumber(ARGV[2]) > attempt_of(job) then return {answer_unknown(), 0} end
if tonumber(ARGV[2]) < attempt_of(job) then return {'stale', 0} end
local phase = phase_of(job)
if not phase then return {'already', 0} end
if phase == 'queued' then
  if not job.sent and not needs_lookup(job) then return {answer_unknown(), 0} end
  -- The submission that was believed lost did arrive: it must not be sent again.
  local now = clock()
  act_because('callback')
  move(job, 'in_doubt', RECORD{doubt_since = now, exists = '1', reason = 'a callback came for it'}, now, now)
  return {'noted', reconcile_hint()}
end
local change, now = {}, clock()
if phase == 'in_progress' and ARGV[3] ~= '1' then return {'noted', 0} end
-- A callback may come several times.
if not string.find(job.timeline or '', EVENT.callback .. '[%da-f]+$') then
  note_event(job, change, EVENT.callback, now)
end
if phase == 'submitting' or phase == 'in_doubt' then
  change.exists, change.refusal, change.maybe_sent = '1', false, '1' -- it proves that a submission arrived
end
save(job, change)
if phase == 'submitting' then return {'noted', 0} end
schedule_lookup(job, now)
return {'noted', reconcile_hint()}
