-- Park a Celery message: store how to finish it, until the job ends. For a job that has ended, decide who finishes it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 Celery id of the message
--       3 its continuation as JSON
--       4 its identity: a message of the same task with the same identity is a repeat (jobs.store.celery_identity)
--       5 mark of the parked message that this message is to finish; '' for a message of a producer
--       6 most messages for one job
--       7 µs for which the worker that finishes a message has it to itself
--       8 µs until a message that came after the end is sent again, unless it was finished
-- Returns: {outcome, mark}, for `final` also how often a worker began to finish the message before. The mark stands for
--   the parked message (message_finished.lua); outcome:
--   parked    stored
--   revoked   stored, but it was revoked before it came (revoke.lua)
--   full      not stored: the job has too many
--   final     the job has ended: finish the message now. Without a mark, the record does not owe it
--   foreign   the same, but the job is another producer's: finish the message with an error
--   finished  it was finished before
--   owed      a worker is finishing it, or is about to; or it waits until the results are saved
--   unknown   there is no such job, or it is another producer's
-- A repeat changes nothing. A message of the same task with another continuation is stored beside the first one.
arity(8)
local job = load(ARGV[1])
if not job then return {answer_unknown(), ''} end
local task, continuation, finishes, now = ARGV[2], ARGV[3], ARGV[5], clock()
local parked, finished = KEY.parked .. job.id, KEY.finished_messages .. job.id
local field = task .. '\n' .. ARGV[4]
local text = redis.call('HGET', parked, field)
-- The version before knew a message by its Celery id alone.
if not text and redis.call('HGET', parked, task) == continuation then text = continuation end
local mark = finishes ~= '' and finishes or mark_of(text or continuation)
local foreign = not is_of(owner_of_job(job), CELERY)
if foreign then
  -- The version before parked messages for any job. They end with an error.
  local is_known = text
  for _, each in ipairs(finishes ~= '' and redis.call('HVALS', parked) or {}) do
    is_known = is_known or mark_of(each) == finishes
  end
  if not is_known or redis.call('HGET', finished, mark) == '1' then return {'unknown', ''} end
end
local function keep()
  redis.call('HSET', parked, field, continuation)
  if task ~= job.id then redis.call('SET', KEY.celery .. task, job.id) end
end
local function is_full() return redis.call('HLEN', parked) >= tonumber(ARGV[6]) end
-- Two messages that finish the same one may come at once. One of them is dropped: the other one is enough.
local function claim()
  local stored = redis.call('HGET', finished, mark)
  if stored == '1' then return {'finished', mark} end
  if stored and now < tonumber(stored) + tonumber(ARGV[7]) then return {'owed', mark} end
  redis.call('HSET', finished, mark, whole(now))
  -- The worker that began before did not finish it.
  local begun = stored and redis.call('HINCRBY', finished, mark .. '+', 1) or 0
  return {foreign and 'foreign' or 'final', mark, begun}
end
if FINAL[job.state] then
  if finishes ~= '' then return claim() end
  if redis.call('HGET', finished, mark) == '1' then return {'finished', mark} end
  local owes = job.owed and string.find(job.owed, 'c', 1, true)
  if text then return owes and {'owed', mark} or claim() end
  -- Of deliveries that were given up, only an operator begins again.
  if is_full() or string.find(job.undelivered or '', 'c', 1, true) then return {'final', ''} end
  keep()
  if waits_for_save(job) then
    if not owes then hold_message(job, now) end
    return {'owed', mark}
  end
  if not owes then owe_messages(job, now + tonumber(ARGV[8])) end
  return claim()
end
if not text then
  if is_full() then return {'full', mark} end
  keep()
end
local deliveries = job.owed_at_end or ''
if not string.find(deliveries, 'c', 1, true) then save(job, RECORD{owed_at_end = deliveries .. 'c'}) end
return {redis.call('ZSCORE', KEY.revoked, task) and 'revoked' or 'parked', mark}
