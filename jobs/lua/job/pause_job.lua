-- Pause a job that waits, or resume it at its old place in the queue.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 '1' to pause, '0' to resume
--       3 for whom: a producer, or '*'
--       4 who does so: the id of a key, for the timeline; ''
-- Returns: {outcome, state, 1 to send an admission hint}
--   outcome: paused | resumed | already | refused (it does not wait) | unknown
arity(4)
local job, pause = load(ARGV[1]), ARGV[2] == '1'
if not job or not is_of(owner_of_job(job), ARGV[3]) then return {answer_unknown(), '', 0} end
if job.state ~= 'queued' then return {'refused', job.state, 0} end
if (job.paused ~= nil) == pause then return {'already', job.state, 0} end
local now = clock()
act_for(ARGV[4])
if not pause then
  local due, change = job.paused == '1', RECORD{paused = false}
  note_event(job, change, EVENT.resumed, now)
  save(job, change)
  if due then join_queue(job) end
  return {'resumed', job.state, admit_hint(now)}
end
-- '0' where its time has not come; join_queue sets '1' when its alarm is due.
local due = job.admitted_by or redis.call('ZSCORE', KEY.ready .. queue_of(job), job.id)
local change = RECORD{paused = due and '1' or '0'}
release_reservation(job, change)
leave_dispatched(job, change)
leave_queue(job)
note_event(job, change, EVENT.paused, now)
save(job, change)
return {'paused', job.state, 0}
