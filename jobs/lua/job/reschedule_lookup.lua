-- A look changed nothing: look again later.
-- ARGV: id, fence, µs until then, how many looks that were or '' to leave it, reason or '' to leave it,
--       what was heard of the provider ('answer' | 'silence' | '')
-- Returns: 'set' | 'refused'
arity(6)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local at = phase_of(job)
if at ~= 'in_doubt' and at ~= 'in_progress' then return 'refused' end
local change = {}
if ARGV[4] ~= '' then change.lookups = ARGV[4] end
if ARGV[5] ~= '' then change.reason = ARGV[5] end
save(job, change)
local now = clock()
record_call(job.lane or DEFAULT_LANE, ARGV[6], ARGV[5], now)
-- A callback may have asked for another look while this one was under way: it may have seen less than that knew.
local asked = next_lookup_at(job)
if not asked or asked > now then schedule_lookup(job, now + tonumber(ARGV[3])) end
return 'set'
