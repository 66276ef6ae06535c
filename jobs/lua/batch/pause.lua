-- Pause a batch, or let it go on. At once and in one step: its queue leaves admission, or joins it again.
-- ARGV: batch, '1' to pause, '0' to go on, what it may cost from now on in nano-dollars or '' to leave that
-- Returns: {word, jobs that wait, a hint to admit (0|1)}; word: paused | resumed | already | unknown
arity(3)
local batch, pause = ARGV[1], ARGV[2] == '1'
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 then return {'unknown', 0, 0} end
local waiting = tonumber(redis.call('HGET', key, 'queued') or 0)
local was = is_halted(batch)
if ARGV[3] ~= '' then redis.call('HSET', key, 'cap', ARGV[3]) end
if (redis.call('HEXISTS', key, 'paused') == 1) == pause then
  if ARGV[3] ~= '' then apply_halt(batch, was) end
  return {'already', waiting, admit_hint(clock())}
end
if pause then redis.call('HSET', key, 'paused', '1') else redis.call('HDEL', key, 'paused') end
apply_halt(batch, was)
return {pause and 'paused' or 'resumed', waiting, admit_hint(clock())}
