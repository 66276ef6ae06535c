-- Give up waiting for the provider. A job in progress expires, but a late result is still taken in for a while; a job
-- that was already over for us lets go of the provider.
-- ARGV: id, fence, µs until the next look, µs for which a late result is still looked for
-- Returns: {'expired' | 'over' | 'refused', a hint to admit (0|1)}
arity(4)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'in_progress' then return {'refused', 0} end
local now = clock()
if FINAL[job.state] then
  release_provider(job, now)
  return {'over', admit_hint(now)}
end
-- A new fence: the same call again must not take the job for one that was over already.
local change = RECORD{phase = 'in_progress', fence = next_fence(job), ended_at = now, settled_by = 'deadline', deadline = now + tonumber(ARGV[4]), lookups = false, owed = owed_deliveries(job)}
change.reason = 'the provider did not finish it in time'
local look = now + tonumber(ARGV[3])
if change.owed then change.lookup_at, change.delivery_at = look, now end
move(job, 'expired', change, now, change.owed and now or look)
return {'expired', 0}
