-- Pause a batch, resume it, or only lower its cap, in one step: its queues leave admission or join it again.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
--       2 'pause' | 'resume' | 'lower': it may not spend more: neither resume, nor raise the cap, nor waive unknown costs
--       3 the new max_cost in nano-dollars; '' to leave it
--       4 µs within which the same max_cost again is a repeat of the same call
--       5 who changes it: a producer, or '*'
-- Returns: {outcome, jobs that wait, 1 to send an admission hint}
--   outcome: paused | resumed | already | unapproved (it waits for an approval: nothing is resumed) | refused (it would
--   spend more) | unknown
arity(5)
local batch, pause, lowers = ARGV[1], ARGV[2] == 'pause', ARGV[2] == 'lower'
local key = KEY.batch .. batch
if redis.call('EXISTS', key) == 0 or not is_of(batch_of(batch).owner, ARGV[5]) then return {'unknown', 0, 0} end
local waiting = tonumber(redis.call('HGET', key, 'queued') or 0)
local was = halts_of(batch)
if lowers then
  local paused, cap = unpack(redis.call('HMGET', key, 'paused', 'cap'))
  if paused or cap and tonumber(ARGV[3]) > tonumber(cap) then return {'refused', waiting, 0} end
  redis.call('HSET', key, 'cap', ARGV[3])
  return {'already', waiting, admit_hint(clock())}
end
if ARGV[3] ~= '' then
  local now, cap, at, unknown = clock(), unpack(redis.call('HMGET', key, 'cap', 'waived_at', 'unknown_costs'))
  -- Who sets a cap knows what was spent up to now: the unknown costs of until now no longer count. Who repeats a call
  -- whose answer was lost does not know of those that came since.
  if not (cap == ARGV[3] and at and now - (tonumber(at) or 0) < tonumber(ARGV[4])) then
    redis.call('HSET', key, 'cap', ARGV[3], 'waived_at', whole(now))
    if unknown then redis.call('HSET', key, 'waived', unknown) end
  end
end
local paused = redis.call('HGET', key, 'paused')
local on_request = paused and not waits_for_approval(paused)
if pause and not on_request then
  pause_batch(batch, '1')
  return {'paused', waiting, admit_hint(clock())}
end
if pause or not on_request then
  if ARGV[3] ~= '' then apply_halt(batch, was) end
  return {not pause and paused and 'unapproved' or 'already', waiting, admit_hint(clock())}
end
resume_batch(batch)
redis.call('HSET', key, 'resumed', whole(clock())) -- its rate before says nothing about what follows (jobs.eta)
return {'resumed', waiting, admit_hint(clock())}
