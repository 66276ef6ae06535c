-- Note that a worker with a result store runs: results that come are to be saved, whoever records them.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' | '2' (before anything is delivered)
--       2 µs for which it holds
-- Returns: 'noted'
-- A repeat only notes a later time. `saves_from`: since when results are saved without a gap; the audit asks for it.
arity(2)
local now = clock()
local until_ = tonumber(redis.call('HGET', KEY.totals, 'saves_until') or 0)
if until_ < now then redis.call('HSET', KEY.totals, 'saves_from', whole(now)) end
redis.call('HSET', KEY.totals, 'saves', ARGV[1], 'saves_until', whole(now + tonumber(ARGV[2])))
return 'noted'
