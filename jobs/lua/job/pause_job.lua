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
act_for(ARGV[4])
if pause then pause_job(job) else resume_job(job) end
return {pause and 'paused' or 'resumed', job.state, pause and 0 or admit_hint(clock())}
