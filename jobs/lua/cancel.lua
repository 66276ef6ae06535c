-- The producer gives up on a job. What may be running at the provider keeps its slots and is watched to its end.
-- ARGV: id
-- Returns: {word, state, a hint to admit (0|1), whether deliveries are owed (0|1)}; word: cancelled | already | refused | unknown
arity(1)
local job = load(ARGV[1])
if not job then return {'unknown', '', 0, 0} end
if job.s == 'cancelled' then return {'already', job.s, 0, 0} end
if FINAL[job.s] then return {'refused', job.s, 0, 0} end
local now = clock()
local change = {e = now, y = 'cancel', g = owed(job)}
if job.s == 'queued' then
  change.r = false
  move(job, 'cancelled', change, now, change.g and now or false)
else
  change.p = job.s
  -- The delivery is due now; the look at the provider, or the end of the lease, when it was.
  if change.g then change.z, change.i = next_look(job), now end
  move(job, 'cancelled', change, now, change.g and now or nil)
end
return {'cancelled', job.s, wake(now), job.g and 1 or 0}
