-- Note that a worker with a result store runs: results that come are to be saved, whoever records them. A worker
-- without one ends that, once no other has run for as long as an announcement holds: until then all may be away.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' | '2' (before anything is delivered) | '' (no result store)
--       2 µs for which it holds
-- Returns: 'noted'
-- A repeat only notes a later time. `saves_from`: since when results are to be saved; the audit asks for it.
-- `saves_back`: when a worker came back after all were away.
arity(2)
local now = clock()
local until_ = tonumber(redis.call('HGET', KEY.totals, 'saves_until') or 0)
if ARGV[1] == '' then
  if until_ < now then redis.call('HDEL', KEY.totals, 'saves', 'saves_from', 'saves_back') end
  return 'noted'
end
if until_ < now then redis.call('HSET', KEY.totals, 'saves_back', whole(now)) end
redis.call('HSETNX', KEY.totals, 'saves_from', whole(now))
redis.call('HSET', KEY.totals, 'saves', ARGV[1], 'saves_until', whole(now + tonumber(ARGV[2])))
return 'noted'
