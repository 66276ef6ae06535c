-- Cancel a job for its producer. What may run at the provider keeps its slots until it is known to be over.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 for whom: a producer, or '*'
--       3 who cancels it: the id of a key, for the timeline; ''
-- Returns: {outcome, state, 1 to send an admission hint, 1 where deliveries are owed}
--   outcome: cancelled | already (it was cancelled before) | refused (it has ended otherwise) | unknown
-- A repeat changes nothing.
arity(3)
local job = load(ARGV[1])
if not job or not is_of(owner_of_job(job), ARGV[2]) then return {answer_unknown(), '', 0, 0} end
if job.state == 'cancelled' then return {'already', job.state, 0, 0} end
if FINAL[job.state] then return {'refused', job.state, 0, 0} end
local now = clock()
act_for(ARGV[3])
cancel_job(job, now)
return {'cancelled', job.state, admit_hint(now), job.owed and 1 or 0}
