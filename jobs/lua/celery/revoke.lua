-- Revoke Celery tasks: cancel their jobs. A task that is not parked here may still come, or belong to another service.
-- Its id is kept for a while, so that its message, if it comes, is not acted upon.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 µs for which an id is kept
--       2 most ids to keep
--       3... Celery ids
-- Returns: {1 to send an admission hint, then outcome, job id, 1 where deliveries are owed, for each}
--   outcome: cancelled | over (the job has ended) | remembered (the id is kept)
if #ARGV < 3 then error('expected two limits and Celery ids') end
local now = clock()
local answer, freed = {0}, false
act_for(CELERY)
local function is_parked(id, task)
  for _, field in ipairs(redis.call('HKEYS', KEY.parked .. id)) do
    if task_of(field) == task then return true end
  end
end
local function revoke(task)
  local id = redis.call('GET', KEY.celery .. task) or task
  local job = is_parked(id, task) and load(id)
  -- The version before parked messages for jobs of other producers, too.
  if not job or not is_of(owner_of_job(job), CELERY) then
    redis.call('ZADD', KEY.revoked, whole(now), task)
    return 'remembered', id, 0
  end
  if FINAL[job.state] then return 'over', id, 0 end
  cancel_job(job, now)
  freed = true
  return 'cancelled', id, job.owed and 1 or 0
end
for i = 3, #ARGV do
  local ok, outcome, id, owed = pcall(revoke, ARGV[i])
  if not ok then
    if string.find(tostring(outcome), 'NEWER', 1, true) then error(outcome, 0) end
    redis.call('ZADD', KEY.revoked, whole(now), ARGV[i]) -- its job is damaged
    outcome, id, owed = 'remembered', ARGV[i], 0
  end
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = outcome, id, owed
end
redis.call('ZREMRANGEBYSCORE', KEY.revoked, '-inf', whole(now - tonumber(ARGV[1])))
redis.call('ZREMRANGEBYRANK', KEY.revoked, 0, -1 - tonumber(ARGV[2]))
if freed then answer[1] = admit_hint(now) end
return answer
