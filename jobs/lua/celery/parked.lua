-- Read the Celery messages of an ended job that are still to be finished.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
-- Returns: {{Celery id, mark, continuation as JSON}...}
arity(1)
local flat = redis.call('HGETALL', KEY.parked .. ARGV[1])
local answer = {}
for i = 1, #flat, 2 do
  local mark = mark_of(flat[i + 1])
  if redis.call('HGET', KEY.finished_messages .. ARGV[1], mark) ~= '1' then
    answer[#answer + 1] = {task_of(flat[i]), mark, flat[i + 1]}
  end
end
return answer
