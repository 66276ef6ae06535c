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
record_call(job.lane or DEFAULT_LANE, 'answer')
local change = RECORD{task_id = ARGV[3], deadline = now + tonumber(ARGV[5]), lookups = false, doubt_since = false, exists = false, reason = false, submit_tries = false}
move_phase(job, 'in_progress', change, now, now + tonumber(ARGV[4]))
return 'started'
