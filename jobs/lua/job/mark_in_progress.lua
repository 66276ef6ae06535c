-- The provider has the attempt: its answer to the POST, or a look-up, gave its id.
-- ARGV: id, fence, the provider's task id, µs until the first poll, µs until the deadline
-- Returns: 'started' | 'refused' (stale fence, or no such claim)
arity(5)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local at = phase_of(job)
if at ~= 'submitting' and at ~= 'in_doubt' then return 'refused' end
local now = clock()
if at == 'submitting' then record_acceptance(job, now, true) end
record_call(job.L or DEFAULT_LANE, 'answer')
local change = {t = ARGV[3], d = now + tonumber(ARGV[5]), l = false, x = false, v = false, r = false, k = false}
move_phase(job, 'in_progress', change, now, now + tonumber(ARGV[4]))
return 'started'
