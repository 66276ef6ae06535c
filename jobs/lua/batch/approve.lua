-- Approve a batch: its jobs, or those that are not its pilot, no longer wait for it. A pause for another reason stays.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
--       2 who approves it: a producer, or '*'
-- Returns: {outcome, jobs that wait, 1 to send an admission hint}
--   outcome: approved | already (it waits for no approval) | unknown
arity(2)
local batch, now = ARGV[1], clock()
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 or not is_of(batch_of(batch).owner, ARGV[2]) then return {'unknown', 0, 0} end
local hold, paused, waiting, spent = unpack(redis.call('HMGET', key, 'hold', 'paused', 'queued', 'spent'))
if not hold then return {'already', 0, admit_hint(now)} end
local was = halts_of(batch)
redis.call('HDEL', key, 'hold')
if waits_for_approval(paused) then redis.call('HDEL', key, 'paused') end
-- The pilot alone has cost this; the rate before says nothing about what follows (jobs.eta).
if redis.call('HEXISTS', key, 'pilot') == 1 then redis.call('HSET', key, 'pilot_spent', spent or 0) end
redis.call('HSET', key, 'approved', whole(now), 'resumed', whole(now))
apply_halt(batch, was)
return {'approved', tonumber(waiting or 0), admit_hint(now)}
