-- Have results saved that are not: they are owed from now on, as at the end of the job. An operator asks for it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to save also what is saved already, because the store has lost it
--       2... job ids
-- Returns: an outcome for each: owed | saved (already) | nothing (no results) | unknown | newer (a later version's
--   record) | damaged
-- A repeat changes nothing: what is owed is tried at once, unless a worker is saving it.
if #ARGV < 2 then error('expected a flag and ids') end
local now = clock()
local answer = {}
for i = 2, #ARGV do
  local job, problem = read(ARGV[i])
  local readable, result = pcall(cjson.decode, job and redis.call('GET', KEY.result .. job.id) or '{}')
  local has_results = readable and type(result.output) == 'table' and #result.output > 0
  local outcome = job and 'nothing' or problem or 'unknown'
  if job and job.save_since then
    outcome = 'owed'
    local queue = save_queue_of(job)
    if not redis.call('ZSCORE', KEY.saving, queue .. '|' .. job.id) then
      redis.call('ZADD', KEY.save_queue .. queue, whole(now), job.id)
      save(job, RECORD{save_at = now})
    end
  elseif job and FINAL[job.state] and has_results then
    outcome = 'saved'
    if not result.saved or ARGV[1] == '1' then
      expect_save(job, now)
      owe_save(job, now, '')
      outcome = 'owed'
    end
  end
  answer[i - 1] = outcome
end
return answer
