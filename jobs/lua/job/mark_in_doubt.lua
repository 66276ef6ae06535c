-- Record that the outcome of a submission is unknown.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 reason
--       4 µs until the first look-up
--       5 '1' where the provider has answered that the external id exists
--       6 the refusal that look-ups are to check, as JSON; '' for none
--       7 whether the provider answered: 'answer' | 'silence' | 'unreadable' | '' (see record_call)
-- Returns: 'doubt' | 'refused' (an older fence, or it is not being submitted)
arity(7)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'submitting' then return 'refused' end
local now = clock()
local change = RECORD{doubt_since = now, lookups = false, reason = ARGV[3], exists = ARGV[5] == '1' and '1' or nil,
  refusal = ARGV[6] ~= '' and ARGV[6] or nil}
if ARGV[7] == 'unreadable' then
  change.unreadable_since, change.submit_tries = now, tonumber(job.submit_tries or 0) + 1
end
move_phase(job, 'in_doubt', change, now, now + tonumber(ARGV[4]))
record_call(job.lane or DEFAULT_LANE, ARGV[7], ARGV[3], now)
return 'doubt'
