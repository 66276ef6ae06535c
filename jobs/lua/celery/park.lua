-- Park a Celery message: store how to finish it, until the job ends. For a job that has ended, decide who finishes it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 Celery id of the message
--       3 its continuation as JSON
--       4 mark of the parked message that this message is to finish; '' for a message of a producer
--       5 most messages for one job
--       6 µs for which the worker that finishes a message has it to itself
-- Returns: {outcome, mark}. The mark stands for this very message (message_finished.lua); outcome:
--   parked    stored
--   revoked   stored, but it was revoked before it came (revoke.lua)
--   full      not stored: the job has too many
--   final     the job has ended: finish the message now
--   finished  it was finished before
--   owed      a worker is finishing it, or is about to
--   unknown   there is no such job
-- A repeat changes nothing. The same Celery id with another continuation replaces the older one.
arity(6)
local job = load(ARGV[1])
if not job then return {answer_unknown(), ''} end
local task, continuation, mark = ARGV[2], ARGV[3], ARGV[4]
local key = KEY.parked .. job.id
if mark == '' then mark = mark_of(continuation) end
if FINAL[job.state] then
  local stored = redis.call('HGET', KEY.finished_messages .. job.id, mark)
  if stored == '1' then return {'finished', mark} end
  if ARGV[4] == '' then
    local owed = job.owed and string.find(job.owed, 'c', 1, true) and redis.call('HGET', key, task) == continuation
    return {owed and 'owed' or 'final', mark}
  end
  -- Two messages that finish the same one may come at once. One of them is dropped: the other one is enough.
  local now = clock()
  if stored and now < tonumber(stored) + tonumber(ARGV[6]) then return {'owed', mark} end
  redis.call('HSET', KEY.finished_messages .. job.id, mark, whole(now))
  return {'final', mark}
end
local known = redis.call('HEXISTS', key, task) == 1
if not known and redis.call('HLEN', key) >= tonumber(ARGV[5]) then return {'full', mark} end
local deliveries = job.owed_at_end or ''
if not string.find(deliveries, 'c', 1, true) then save(job, RECORD{owed_at_end = deliveries .. 'c'}) end
-- A message that should have finished another one, but came after a retry of the job, has nothing new.
if not known or ARGV[4] == '' then redis.call('HSET', key, task, continuation) end
if task ~= job.id then redis.call('SET', KEY.celery .. task, job.id) end
return {redis.call('ZSCORE', KEY.revoked, task) and 'revoked' or 'parked', mark}
