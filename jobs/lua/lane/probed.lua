-- Record the outcome of a probe. An answer closes the circuit breaker; without one the next probe is scheduled.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lane
--       2 how many probes there were before (probe.lua)
--       3 '1' where the provider answered
--       4 µs until the next probe
--       5 reason
-- Returns: {'closed' | 'open' | 'refused' (it was not the last probe, or the breaker is not open), 1 to send an
--   admission hint}
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
