-- Pause a job that waits, or let it go on, at its old place.
-- ARGV: id, '1' to pause, '0' to go on
-- Returns: {word, state, a hint to admit (0|1)}; word: paused | resumed | already | refused (it does not wait) | unknown
arity(2)
local job, pause = load(ARGV[1]), ARGV[2] == '1'
if not job then return {answer_unknown(), '', 0} end
if job.state ~= 'queued' then return {'refused', job.state, 0} end
if (job.paused ~= nil) == pause then return {'already', job.state, 0} end
if not pause then
  local due = job.paused == '1'
  save(job, RECORD{paused = false})
  if due then join_queue(job) end
  return {'resumed', job.state, admit_hint(clock())}
end
-- '0': its time has not come; its alarm will say so (`ready`).
local due = job.admitted_by or redis.call('ZSCORE', KEY.ready .. queue_of(job), job.id)
local change = RECORD{paused = due and '1' or '0'}
release_reservation(job, change)
leave_dispatched(job, change)
leave_queue(job)
save(job, change)
return {'paused', job.state, 0}
