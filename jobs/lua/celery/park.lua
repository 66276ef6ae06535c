-- A Celery message for a job: keep how to finish it, while the job is unfinished; afterwards it is finished at once.
-- ARGV: id, the message's Celery id, the continuation as JSON, the mark of the parked message that it finishes ('' for a
--       producer's own), most messages kept for one job, µs for which who finishes it has it to itself
-- Returns: {word, mark}, the mark standing for this very message (message_finished.lua); word being
--   parked    revoked (parked, and revoked before it came: see revoke.lua)    full (too many wait for this job)
--   final     act on the record    told (that has been done)    owed (it is under way, or in other hands)    unknown
-- A repeat changes nothing; the same Celery id with another continuation replaces the older one.
arity(6)
local job = load(ARGV[1])
if not job then return {answer_unknown(), ''} end
local task, continuation, mark = ARGV[2], ARGV[3], ARGV[4]
local key = KEY.parked .. job.id
if mark == '' then mark = mark_of(continuation) end
if FINAL[job.state] then
  local told = redis.call('HGET', KEY.told .. job.id, mark)
  if told == '1' then return {'told', mark} end
  if ARGV[4] == '' then
    local owes = job.owed and string.find(job.owed, 'c', 1, true) and redis.call('HGET', key, task) == continuation
    return {owes and 'owed' or 'final', mark}
  end
  -- Two that finish the same one may come at once. The one that is dropped was not needed: it is owed until told.
  local now = clock()
  if told and now < tonumber(told) + tonumber(ARGV[6]) then return {'owed', mark} end
  redis.call('HSET', KEY.told .. job.id, mark, whole(now))
  return {'final', mark}
end
local known = redis.call('HEXISTS', key, task) == 1
if not known and redis.call('HLEN', key) >= tonumber(ARGV[5]) then return {'full', mark} end
local owing = job.owed_at_end or ''
if not string.find(owing, 'c', 1, true) then save(job, RECORD{owed_at_end = owing .. 'c'}) end
-- One that should have finished it, but came after a retry, is no news.
if not known or ARGV[4] == '' then redis.call('HSET', key, task, continuation) end
if task ~= job.id then redis.call('SET', KEY.celery .. task, job.id) end
return {redis.call('ZSCORE', KEY.revoked, task) and 'revoked' or 'parked', mark}
