-- Read one page of jobs, newest first, merged over states. A job keeps its place (its creation) while its state
-- changes, so a cursor stays valid.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 created before, exclusive: µs or '+inf'
--       2 created from then on: µs or '-inf'
--       3 most jobs
--       4... states
-- Returns: {id, created in µs, ...}
if #ARGV < 4 then error('expected two times, a number and states') end
local before, from, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
if before ~= '+inf' then before = '(' .. before end
local found = {}
for i = 4, #ARGV do
  local part = redis.call('ZREVRANGEBYSCORE', KEY.state .. ARGV[i], before, from, 'WITHSCORES', 'LIMIT', 0, limit)
  for j = 1, #part, 2 do found[#found + 1] = {part[j], tonumber(part[j + 1])} end
end
table.sort(found, function(a, b) return a[2] > b[2] end)
local answer = {}
for i = 1, math.min(limit, #found) do
  answer[#answer + 1] = found[i][1]
  answer[#answer + 1] = whole(found[i][2])
end
return answer
