-- A person says what became of an attempt whose outcome neither a look nor a callback tells.
-- ARGV: id, since when it is in doubt (µs; the word is about that doubt and no later one), 'sent' | 'not-sent' | 'failed',
--       the provider's task id (of one that was sent), its result as JSON (of one that failed), reason,
--       looks after which a task is asked for by that id, µs until the deadline, µs until a waiting job is re-checked
-- Returns: {word, state, a hint to admit (0|1), whether deliveries are owed (0|1)}, word being
--   settled    over (the producer had given up on it: its slots are free)    other (not in that doubt any more)    unknown
-- The fence is raised: whoever is looking for it just now has no say any more.
arity(9)
local job, said, reason = load(ARGV[1]), ARGV[3], ARGV[6]
if not job then return {'unknown', '', 0, 0} end
if phase_of(job) ~= 'in_doubt' or job.x ~= ARGV[2] then return {'other', job.s, 0, 0} end
local now = clock()
local change = {f = next_fence(job), l = false, x = false, v = false, k = false, r = reason}
if said == 'sent' then
  change.t, change.d, change.l = ARGV[4], now + tonumber(ARGV[8]), ARGV[7]
  move_phase(job, 'in_progress', change, now, now)
  return {'settled', job.s, 0, 0}
end
if FINAL[job.s] then
  release_provider(job, now)
  return {'over', job.s, admit_hint(now), 0}
end
if said == 'not-sent' then
  change.G = epoch().number -- not to be doubted again for what Redis may have forgotten
  pin_to_lane(job, change)
  move(job, 'queued', change, now, recheck_at(job, now, tonumber(ARGV[9])))
  join_queue(job)
elseif said == 'failed' then
  redis.call('SET', KEY.result .. job.id, ARGV[5])
  change.y, change.d, change.e, change.g, change.h, change.j = 'hand', false, now, owed_at_end(job), false, outdate_deliveries(job)
  move(job, 'failed', change, now, change.g and now or false)
  if job.b then count_failure(job.b, ARGV[5], 1) end
else
  error('expected sent, not-sent or failed, not ' .. said)
end
return {'settled', job.s, admit_hint(now), job.g and 1 or 0}
