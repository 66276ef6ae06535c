-- Celery tasks are revoked: their jobs are cancelled. A task that is not parked here may still come, or be another
-- service's: it is remembered for a while, and its message, if it comes, is not acted upon.
-- ARGV: µs to remember, most to remember, Celery ids...
-- Returns: {a hint to admit (0|1), then word, job id, whether deliveries are owed (0|1) for each}; word being
--   cancelled    over (it has ended)    remembered
if #ARGV < 3 then error('expected two limits and Celery ids') end
local now = clock()
local answer, freed = {0}, false
local function revoke(task)
  local id = redis.call('GET', KEY.celery .. task) or task
  local job = redis.call('HEXISTS', KEY.parked .. id, task) == 1 and load(id)
  if not job then
    redis.call('ZADD', KEY.revoked, whole(now), task)
    return 'remembered', id, 0
  end
  if FINAL[job.state] then return 'over', id, 0 end
  cancel_job(job, now)
  freed = true
  return 'cancelled', id, job.owed and 1 or 0
end
for i = 3, #ARGV do
  local fine, word, id, owes = pcall(revoke, ARGV[i])
  if not fine then
    if string.find(tostring(word), 'NEWER', 1, true) then error(word, 0) end
    redis.call('ZADD', KEY.revoked, whole(now), ARGV[i]) -- what it is for is damaged
    word, id, owes = 'remembered', ARGV[i], 0
  end
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = word, id, owes
end
redis.call('ZREMRANGEBYSCORE', KEY.revoked, '-inf', whole(now - tonumber(ARGV[1])))
redis.call('ZREMRANGEBYRANK', KEY.revoked, 0, -1 - tonumber(ARGV[2]))
if freed then answer[1] = admit_hint(now) end
return answer
