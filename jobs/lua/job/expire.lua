-- Give up waiting for the provider. A job in progress expires, but a late result is still taken in for a while; a job
-- that was already over for us lets go of the provider.
-- ARGV: id, fence, µs until the next look, µs for which a late result is still looked for
-- Returns: {'expired' | 'over' | 'refused', a hint to admit (0|1)}
arity(4)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'in_progress' then return {'refused', 0} end
local now = clock()
if FINAL[job.s] then
  release_provider(job, now)
  return {'over', admit_hint(now)}
end
-- A new fence: the same call again must not take the job for one that was over already.
local change = {p = 'in_progress', f = next_fence(job), e = now, y = 'deadline', d = now + tonumber(ARGV[4]), l = false, g = owed_at_end(job)}
change.r = 'the provider did not finish it in time'
local look = now + tonumber(ARGV[3])
if change.g then change.z, change.i = look, now end
move(job, 'expired', change, now, change.g and now or look)
return {'expired', 0}
