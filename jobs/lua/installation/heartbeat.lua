-- Note that a worker runs.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 its state: reading | busy | cut_off (jobs/liveness.py)
--       2... the queues that it reads
-- Returns: now in µs
-- A repeat only notes a later time.
if #ARGV < 1 then error('heartbeat expects at least 1 argument') end
local now = whole(clock())
if redis.call('TYPE', KEY.heartbeats).ok ~= 'hash' then redis.call('DEL', KEY.heartbeats) end
redis.call('HSETNX', KEY.heartbeats, 'first', now)
if ARGV[1] ~= 'reading' then redis.call('HSET', KEY.heartbeats, ARGV[1], now) end
for i = 2, #ARGV do redis.call('HSET', KEY.heartbeats, 'reads:' .. ARGV[i], now) end
return now
