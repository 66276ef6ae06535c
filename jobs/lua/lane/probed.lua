-- What a probe found: an answer closes the lane's circuit breaker, and what waits goes on; else the next one is due.
-- ARGV: lane, how many probes there had been (probe.lua), '1' for an answer, µs until the next probe, reason
-- Returns: {'closed' | 'open' | 'refused' (not the last probe, or not open), a hint to admit (0|1)}
arity(5)
local name = ARGV[1]
local lane, now = KEY.lane .. name, clock()
local open, probes = unpack(redis.call('HMGET', lane, 'open', 'probes'))
if not open or tonumber(probes) ~= tonumber(ARGV[2]) + 1 then return {'refused', 0} end
if ARGV[3] ~= '1' then
  redis.call('HSET', lane, 'probe', whole(now + tonumber(ARGV[4])))
  return {'open', 0}
end
redis.call('HDEL', lane, 'open', 'because', 'probe', 'probes', 'bad')
add_history(name, now, 'closed', nil, ARGV[5])
return {'closed', admit_hint(now)}
