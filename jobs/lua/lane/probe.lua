-- Claim the probes that are due: of lanes whose circuit breaker is open and that no other worker is probing.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2... lanes
-- Returns: {{lane, how many probes there were before, why it is open, since when in µs}...}
if #ARGV < 1 then error('expected a lease and lanes') end
local now, answer = clock(), {}
for i = 2, #ARGV do
  local lane = KEY.lane .. ARGV[i]
  local open, due, probes, because = unpack(redis.call('HMGET', lane, 'open', 'probe', 'probes', 'because'))
  if open and tonumber(due) <= now then
    redis.call('HSET', lane, 'probe', whole(now + tonumber(ARGV[1])), 'probes', tonumber(probes) + 1)
    answer[#answer + 1] = {ARGV[i], tonumber(probes), because, open}
  end
end
return answer
