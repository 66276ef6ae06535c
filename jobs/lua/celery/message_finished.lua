-- A Celery message was finished: its result is stored, and what hangs on it was called. Once all of a job's are, none
-- is owed any more.
-- ARGV: id, mark of the message (park.lua)
-- Returns: told | owed (others are still to be finished) | unfinished (a retry was faster: the next end is told anew)
arity(2)
local job = load(ARGV[1])
if not job or not FINAL[job.state] then return 'unfinished' end
redis.call('HSET', KEY.told .. job.id, ARGV[2], 1)
if not job.owed or not string.find(job.owed, 'c', 1, true) then return 'told' end
for _, continuation in ipairs(redis.call('HVALS', KEY.parked .. job.id)) do
  if redis.call('HGET', KEY.told .. job.id, mark_of(continuation)) ~= '1' then return 'owed' end
end
delivery_done(job, 'c')
return 'told'
