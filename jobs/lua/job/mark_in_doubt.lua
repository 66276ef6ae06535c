-- The outcome of the POST is unknown.
-- ARGV: id, fence, reason, µs until the first look, '1' where the provider itself said that the external id exists,
--       what was heard of the provider ('answer' | 'silence' | '')
-- Returns: 'doubt' | 'refused'
arity(6)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'submitting' then return 'refused' end
local now = clock()
local change = RECORD{doubt_since = now, lookups = false, reason = ARGV[3], exists = ARGV[5] == '1' and '1' or nil}
move_phase(job, 'in_doubt', change, now, now + tonumber(ARGV[4]))
record_call(job.lane or DEFAULT_LANE, ARGV[6], ARGV[3], now)
return 'doubt'
