-- Put a lane on hold: it admits nothing until then. Each refusal in a row doubles the wait, up to a cap.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lane
--       2 first wait in µs
--       3 longest wait in µs
--       4 shortest wait in µs (Retry-After)
--       5 share of the wait that jitter leaves, 0.5 to 1 (jobs/jitter.py)
--       6 reason
--       7 '1' where the provider refused because it was too much: a learned limit goes down, once a hold
-- Returns: when the hold ends, in µs
arity(7)
local lane = KEY.lane .. ARGV[1]
local base, cap, least, share = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = clock()
record_call(ARGV[1], 'answer')
local hold, level = read_number(lane, 'hold'), read_number(lane, 'level')
-- Answers to calls that were under way when the hold began repeat the refusal; they do not make it longer.
if hold > now and level > 0 and least <= hold - now then return whole(hold) end
if hold <= now then
  level = level + 1
  if ARGV[7] == '1' then cut_limit(ARGV[1], now, ARGV[6]) end
end
local wait = math.min(cap, base * 2 ^ (math.max(level, 1) - 1))
wait = math.max(least, share * wait)
redis.call('HSET', lane, 'hold', whole(now + wait), 'why', ARGV[6], 'level', level)
redis.call('HSETNX', lane, 'since', whole(now))
return whole(now + wait)
