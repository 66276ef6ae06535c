-- Whether a job stands in a queue in which it does not wait; and take it out. The queue's counters have a recount of their
-- own (repair_pool.lua).
-- ARGV: '1' to mend ('0': only look), queue, id
-- Returns: {'queue'} where it is wrong, else {}
arity(3)
local queue, id = ARGV[2], ARGV[3]
local job, odd = read(id)
local there = redis.call('ZSCORE', KEY.ready .. queue, id)
if odd or not there then return {} end
if job and job.state == 'queued' and not job.admitted_by and not job.paused and queue_of(job) == queue then return {} end
if ARGV[1] == '1' then redis.call('ZREM', KEY.ready .. queue, id) end
return {'queue'}
