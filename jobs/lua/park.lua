-- A Celery message for a job: keep how to finish it. Only while the job is unfinished; afterwards nobody would.
-- ARGV: id, the continuation as JSON
-- Returns: parked | final (act on the record) | owed (a delivery of this kind is under way) | unknown
arity(2)
local job = load(ARGV[1])
if not job then return 'unknown' end
if FINAL[job.s] then return job.g and string.find(job.g, 'c', 1, true) and 'owed' or 'final' end
local owing = job.o or ''
if not string.find(owing, 'c', 1, true) then save(job, {o = owing .. 'c'}) end
redis.call('SET', KEY.parked .. job.id, ARGV[2])
return 'parked'
