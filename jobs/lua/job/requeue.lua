-- The attempt surely does not exist at the provider: it waits again, under the same external id and at its old place.
-- ARGV: id, fence, µs to wait (0: at once), reason, '1' to count a try, µs until a waiting job is re-checked,
--       what was heard of the provider ('answer' | 'silence' | '')
-- Returns: 'queued' | 'over' (the producer had given up on it: slots freed) | 'doubt' (a callback knows better) | 'refused'
arity(7)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local at = phase_of(job)
if at ~= 'submitting' and at ~= 'in_doubt' then return 'refused' end
local now = clock()
record_call(job.lane or DEFAULT_LANE, ARGV[7], ARGV[4], now)
if job.exists and at == 'submitting' then
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
if at == 'in_doubt' then pin_to_lane(job, change) end
move(job, 'queued', change, now, wait > 0 and now + wait or recheck_at(job, now, tonumber(ARGV[6])))
if wait == 0 then join_queue(job) end
return 'queued'
