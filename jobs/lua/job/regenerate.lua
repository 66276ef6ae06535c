-- Make a new job that generates the images of a completed job once more. The completed job stays as it is, with its
-- images and its cost; each of the two names the other.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 id of the completed job
--       2 who asks: a producer, or '*'
--       3 id of the new job
--       4 its request
--       5 its facts as JSON (jobs.new_job)
--       6 µs until a waiting job is checked again
--       7 limits of unfinished jobs as JSON (jobs.room); '' for none
-- Returns: {outcome, the id of the job that generates it once more or '', 1 to send an admission hint}; outcome:
--   created    the new job waits, in the batch of the completed one
--   same       an earlier call made it, with this request
--   other      an earlier call made it, with another request
--   conflict   another job has the new id
--   imageless  an image is not stored
--   full       the limit of unfinished jobs is reached
--   no output  the job has no output that is final
--   unknown    there is no such job, or it is another producer's
arity(7)
expect_installation()
local job, new = load(ARGV[1]), ARGV[3]
if not job or not is_of(owner_of_job(job), ARGV[2]) then return {'unknown', '', 0} end
if job.regenerated_by then
  return {has_request(job.regenerated_by, ARGV[4]) and 'same' or 'other', job.regenerated_by, 0}
end
if job.state ~= 'completed' and (job.phase or not has_output(job)) then return {'no output', '', 0} end
local now = clock()
local outcomes, created = accept(job.batch or '', {{new, ARGV[4], ARGV[5]}}, now, tonumber(ARGV[6]), free_places(ARGV[7]), ARGV[2])
if created == 0 then return {outcomes[1] == 'known' and 'conflict' or outcomes[1], '', 0} end
count_accepted(created)
save(job, RECORD{regenerated_by = new})
redis.call('HSET', KEY.job .. new, FIELD.regenerates, job.id)
return {'created', new, admit_hint(now)}
