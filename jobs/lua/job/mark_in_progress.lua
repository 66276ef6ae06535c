-- Record that the provider has the attempt: the answer to the submission, or a look-up, gave its task id.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 the provider's task id
--       4 µs until the first poll
--       5 µs until the deadline; '0' where no answer about it can be read
-- Returns: 'started' | 'refused' (an older fence, or it is neither submitted nor in doubt)
arity(5)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) then return 'refused' end
local phase = phase_of(job)
if phase ~= 'submitting' and phase ~= 'in_doubt' then return 'refused' end
local now = clock()
if phase == 'submitting' then record_acceptance(job, now, true) end
record_call(job.lane or DEFAULT_LANE, 'answer')
local change = RECORD{task_id = ARGV[3], deadline = now + tonumber(ARGV[5]), lookups = false, doubt_since = false,
  exists = false, reason = false, submit_tries = false}
if ARGV[5] ~= '0' then
  change.unreadable_since, change.unanswered_since, change.no_result_since = false, false, false
end
move_phase(job, 'in_progress', change, now, now + tonumber(ARGV[4]))
guarded(job.id, now, function() index_task(job, ARGV[3]) end)
return 'started'
