-- Queue an attempt again that surely does not exist at the provider: under the same external id, at its old place.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 µs to wait; 0 for none
--       4 reason
--       5 '1' to count it in `submit_tries`
--       6 µs until a waiting job is checked again
--       7 whether the provider answered: 'answer' | 'silence' | 'unreadable' | '' (see record_call)
-- Returns: 'queued' | 'over' (the producer had cancelled it: its slots are free) | 'doubt' (a callback has proven
--   that the attempt exists) | 'refused' (an older fence, or it is neither submitted nor in doubt)
arity(7)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local phase = phase_of(job)
if phase ~= 'submitting' and phase ~= 'in_doubt' then return 'refused' end
local now = clock()
record_call(job.lane or DEFAULT_LANE, ARGV[7], ARGV[4], now)
if job.exists and phase == 'submitting' then
  move_phase(job, 'in_doubt', RECORD{doubt_since = now, lookups = false, reason = 'a callback came for it'}, now, now)
  return 'doubt'
end
if job.exists then return 'doubt' end
if FINAL[job.state] then
  release_provider(job, now)
  return 'over'
end
local wait = tonumber(ARGV[3])
local change = RECORD{lookups = false, doubt_since = false, exists = false, reason = ARGV[4] ~= '' and ARGV[4] or false}
if ARGV[5] == '1' then change.submit_tries = tonumber(job.submit_tries or 0) + 1 end
if phase == 'in_doubt' then pin_to_lane(job, change) end
move(job, 'queued', change, now, wait > 0 and now + wait or recheck_at(job, now, tonumber(ARGV[6])))
if wait == 0 then join_queue(job) end
return 'queued'
