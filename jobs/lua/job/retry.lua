-- Queue a job again that ended without pictures.
-- ARGV: id, µs until a waiting job is re-checked
-- Returns: {word, state, a hint to admit (0|1)}; word: queued | already | working | pictured | imageless | refused | unknown
arity(2)
expect_installation()
local job = load(ARGV[1])
if not job then return {'unknown', '', 0} end
if job.s == 'completed' then return {'refused', job.s, 0} end
if not FINAL[job.s] then return {'already', job.s, 0} end
if job.p then return {'working', job.s, 0} end
if has_output(job) then return {'pictured', job.s, 0} end
if not has_images(job) then return {'imageless', job.s, 0} end
local now = clock()
requeue_job(job, now, tonumber(ARGV[2]))
return {'queued', job.s, admit_hint(now)}
