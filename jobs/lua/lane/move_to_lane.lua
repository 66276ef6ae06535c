-- Move a job in doubt to another lane of its pool, after a look-up found it there: its record was older than the
-- submission, because data were lost.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 fence of the claim
--       3 lane
-- Returns: 'moved' | 'refused' (an older fence, or it is not in doubt)
arity(3)
local job = load(ARGV[1])
if not job or not holds_fence(job, ARGV[2]) or phase_of(job) ~= 'in_doubt' then return 'refused' end
if (job.lane or DEFAULT_LANE) == ARGV[3] then return 'moved' end
local change = RECORD{lane = ARGV[3] ~= DEFAULT_LANE and ARGV[3]}
redis.call('HINCRBY', lane_of(job), 'slots', -image_count(job))
release_reservation(job, change)
save(job, change)
redis.call('HINCRBY', lane_of(job), 'slots', image_count(job))
local priced = {}
reserve(job, ARGV[3], priced)
save(job, priced)
return 'moved'
