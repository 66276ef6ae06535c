-- Queue a job again that ended without output.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 µs until a waiting job is checked again
--       3 for whom: a producer, or '*'
--       4 who retries it: the id of a key, for the timeline; ''
-- Returns: {outcome, state, 1 to send an admission hint}
--   outcome: queued | already (it has not ended) | working (the provider may still work on it) | has output (it was
--   cancelled, but has paid output) | imageless (an image is not stored any more) | refused (it is completed) | unknown
arity(4)
expect_installation()
local job = load(ARGV[1])
if not job or not is_of(owner_of_job(job), ARGV[3]) then return {'unknown', '', 0} end
local why = retry_refusal(job)
if why then return {why, job.state, 0} end
local now = clock()
act_for(ARGV[4])
requeue_job(job, now, tonumber(ARGV[2]))
if job.batch then pause_until_approved(job.batch) end
return {'queued', job.state, admit_hint(now)}
