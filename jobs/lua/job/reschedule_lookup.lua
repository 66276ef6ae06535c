-- Schedule the next look-up or poll, after one that settled nothing.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 µs until the next one
--       4 how many there were; '' to leave the count
--       5 reason; '' to leave it
--       6 whether the provider answered: 'answer' | 'silence' | 'unreadable' | 'no_result' | 'unanswered' | ''
--         (jobs.lane_health.Reachability)
-- Returns: 'set' | 'refused' (an older fence, or the provider has nothing to look up)
arity(6)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local phase = phase_of(job)
if phase ~= 'in_doubt' and phase ~= 'in_progress' then return 'refused' end
local change, now = {}, clock()
if ARGV[4] ~= '' then change.lookups = ARGV[4] end
if ARGV[5] ~= '' then change.reason = ARGV[5] end
local reached = ARGV[6]
if reached == 'answer' then
  change.unreadable_since, change.no_result_since = false, false
elseif (reached ~= 'silence' and reached ~= '') or (job.deadline and tonumber(job.deadline) <= now) then
  -- An operator should look at a job that is past its deadline, too, if the provider does not answer about it.
  change.unreadable_since = job.unreadable_since or now
end
-- Each patience (worker/answers.py) counts from its own start. An outage restarts the first one.
change.unanswered_since = reached == 'unanswered' and (job.unanswered_since or now)
if reached == 'no_result' then change.no_result_since = job.no_result_since or now end
if change.lookups and change.lookups ~= job.lookups then note_event(job, change, EVENT.looked_up, now) end
save(job, change)
record_call(job.lane or DEFAULT_LANE, reached, ARGV[5], now)
-- A callback may have asked for another look-up while this one was under way, which may have seen less than the
-- callback knew.
local asked = next_lookup_at(job)
if not asked or asked > now then schedule_lookup(job, now + tonumber(ARGV[3])) end
return 'set'
