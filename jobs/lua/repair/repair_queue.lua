-- Check whether a job stands in a queue in which it does not wait; take it out. repair_pool.lua then corrects the
-- counters.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 queue
--       3 job id
-- Returns: {'queue'} where it is wrong, else {}
arity(3)
local queue, id = ARGV[2], ARGV[3]
local job, problem = read(id)
local there = redis.call('ZSCORE', KEY.ready .. queue, id)
if problem or not there then return {} end
if job and job.state == 'queued' and not job.admitted_by and not job.paused and queue_of(job) == queue then
  return {}
end
if ARGV[1] == '1' then redis.call('ZREM', KEY.ready .. queue, id) end
return {'queue'}
