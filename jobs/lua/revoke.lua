-- Celery tasks are revoked: their jobs are cancelled. A task that is not parked here may still come, or be another
-- service's: it is remembered for a while, and its message, if it comes, is not acted upon.
-- ARGV: µs to remember, most to remember, Celery ids...
-- Returns: {a hint to admit (0|1), then word, job id, whether deliveries are owed (0|1) for each}; word being
--   cancelled    over (it has ended)    remembered
if #ARGV < 3 then error('expected two limits and Celery ids') end
local now = clock()
local answer, freed = {0}, false
for i = 3, #ARGV do
  local id = redis.call('GET', KEY.celery .. ARGV[i]) or ARGV[i]
  local job = redis.call('HEXISTS', KEY.parked .. id, ARGV[i]) == 1 and load(id)
  local word, owes = 'remembered', 0
  if not job then
    redis.call('ZADD', KEY.revoked, whole(now), ARGV[i])
  elseif FINAL[job.s] then
    word = 'over'
  else
    give_up(job, now)
    word, owes, freed = 'cancelled', job.g and 1 or 0, true
  end
  answer[#answer + 1], answer[#answer + 2], answer[#answer + 3] = word, id, owes
end
redis.call('ZREMRANGEBYSCORE', KEY.revoked, '-inf', whole(now - tonumber(ARGV[1])))
redis.call('ZREMRANGEBYRANK', KEY.revoked, 0, -1 - tonumber(ARGV[2]))
if freed then answer[1] = wake(now) end
return answer
