-- Stop waiting for the provider, after the deadline. A job in progress expires; look-ups for a late result continue for
-- a while. A job that had ended before releases its slots.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 µs until the next poll
--       4 µs for which a late result is looked for
--       5 reason
-- Returns: {'expired' | 'over' (it had ended before) | 'refused', 1 to send an admission hint}
arity(5)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'in_progress' then return {'refused', 0} end
local now = clock()
if FINAL[job.state] then
  release_provider(job, now)
  return {'over', admit_hint(now)}
end
-- The fencing token rises, so that a repeat of this call is refused instead of taking the job for one that had ended
-- before.
local change = RECORD{phase = 'in_progress', fence = next_fence(job), ended_at = now, settled_by = 'deadline',
  deadline = now + tonumber(ARGV[4]), lookups = false}
owe_deliveries(job, change, now)
change.reason = ARGV[5]
local lookup_at = now + tonumber(ARGV[3])
if change.owed then change.lookup_at, change.delivery_at = lookup_at, now end
move(job, 'expired', change, now, change.owed and now or lookup_at)
return {'expired', 0}
