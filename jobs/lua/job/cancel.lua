-- The producer gives up on a job.
-- ARGV: id
-- Returns: {word, state, a hint to admit (0|1), whether deliveries are owed (0|1)}; word: cancelled | already | refused | unknown
arity(1)
local job = load(ARGV[1])
if not job then return {answer_unknown(), '', 0, 0} end
if job.state == 'cancelled' then return {'already', job.state, 0, 0} end
if FINAL[job.state] then return {'refused', job.state, 0, 0} end
local now = clock()
cancel_job(job, now)
return {'cancelled', job.state, admit_hint(now), job.owed and 1 or 0}
