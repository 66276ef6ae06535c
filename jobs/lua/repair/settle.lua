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
if phase_of(job) ~= 'in_doubt' or job.doubt_since ~= ARGV[2] then return {'other', job.state, 0, 0} end
local now = clock()
local change = RECORD{fence = next_fence(job), lookups = false, doubt_since = false, exists = false, submit_tries = false, reason = reason}
if said == 'sent' then
  change.task_id, change.deadline, change.lookups = ARGV[4], now + tonumber(ARGV[8]), ARGV[7]
  move_phase(job, 'in_progress', change, now, now)
  return {'settled', job.state, 0, 0}
end
if FINAL[job.state] then
  release_provider(job, now)
  return {'over', job.state, admit_hint(now), 0}
end
if said == 'not-sent' then
  change.epoch = epoch().number -- not to be doubted again for what Redis may have forgotten
  pin_to_lane(job, change)
  move(job, 'queued', change, now, recheck_at(job, now, tonumber(ARGV[9])))
  join_queue(job)
elseif said == 'failed' then
  redis.call('SET', KEY.result .. job.id, ARGV[5])
  change.settled_by, change.deadline, change.ended_at, change.owed, change.delivery_tries, change.delivery_fence = 'hand', false, now, owed_deliveries(job), false, outdate_deliveries(job)
  move(job, 'failed', change, now, change.owed and now or false)
  if job.batch then count_failure(job.batch, ARGV[5], 1) end
else
  error('expected sent, not-sent or failed, not ' .. said)
end
return {'settled', job.state, admit_hint(now), job.owed and 1 or 0}
