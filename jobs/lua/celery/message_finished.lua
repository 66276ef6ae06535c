-- Record that a parked Celery message is finished: its result is stored, and its callbacks were called. Once all
-- messages of a job are finished, the job owes none.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 mark of the message (park.lua)
-- Returns: finished (recorded) | owed (recorded; others are still to be finished) | unfinished (the job was retried
--   meanwhile: its next end finishes the message again)
arity(2)
local job = load(ARGV[1])
if not job or not FINAL[job.state] then return 'unfinished' end
redis.call('HSET', KEY.finished_messages .. job.id, ARGV[2], 1)
if not job.owed or not string.find(job.owed, 'c', 1, true) then return 'finished' end
for _, continuation in ipairs(redis.call('HVALS', KEY.parked .. job.id)) do
  if redis.call('HGET', KEY.finished_messages .. job.id, mark_of(continuation)) ~= '1' then return 'owed' end
end
delivery_done(job, 'c', {})
return 'finished'
