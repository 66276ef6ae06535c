-- Queue a job again that ended without pictures. An attempt that was sent is over: the next one has a new external id.
-- ARGV: id, µs until a waiting job is re-checked
-- Returns: {word, state, a hint to admit (0|1)}; word: queued | already | working | refused | unknown
arity(2)
local job = load(ARGV[1])
if not job then return {'unknown', '', 0} end
if job.s == 'completed' then return {'refused', job.s, 0} end
if not FINAL[job.s] then return {'already', job.s, 0} end
if job.p then return {'working', job.s, 0} end
local now = clock()
local change = {e = false, y = false, g = false, q = false, t = false, d = false, l = false, x = false, v = false}
change.r, change.k, change.h, change.j = false, false, false, outdate_deliveries(job)
if job.q then change.a = attempt(job) + 1 end
redis.call('DEL', KEY.result .. job.id)
move(job, 'queued', change, now, now + tonumber(ARGV[2]))
ready(job)
return {'queued', job.s, wake(now)}
