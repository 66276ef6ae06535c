-- Begin the pilot of a batch: the jobs that run before the batch is approved, once the upload has named all. They move
-- into a queue of their own.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
--       2... ids of the jobs; those that do not wait in the batch are left out
-- Returns: {outcome, jobs of the pilot, 1 to send an admission hint}
--   outcome: begun | already (it has begun, is over, or the batch is approved or asked for none) | unknown
-- A repeat changes nothing: the jobs of the first call stay.
if #ARGV < 1 then error('expected a batch and jobs') end
expect_installation()
local batch = ARGV[1]
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 then return {answer_unknown(), 0, 0} end
local hold, count, paused = unpack(redis.call('HMGET', key, 'hold', 'pilot', 'paused'))
if hold ~= 'pilot' or count then return {'already', tonumber(count or 0), 0} end
count = 0
for i = 2, #ARGV do
  local job = read(ARGV[i])
  if job and job.batch == batch and job.state == 'queued' and not job.pilot then
    leave_queue(job)
    save(job, RECORD{pilot = '1', version = VERSION})
    join_queue(job)
    count = count + 1
  end
end
redis.call('HSET', key, 'pilot', count, 'pilot_left', count)
if waits_for_approval(paused) then resume_batch(batch) end
return {'begun', count, admit_hint(clock())}
