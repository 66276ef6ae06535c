-- Queue a job again that ended without pictures.
-- ARGV: id, µs until a waiting job is re-checked
-- Returns: {word, state, a hint to admit (0|1)}; word: queued | already | working | pictured | imageless | refused | unknown
arity(2)
expect_installation()
local job = load(ARGV[1])
if not job then return {'unknown', '', 0} end
if job.state == 'completed' then return {'refused', job.state, 0} end
if not FINAL[job.state] then return {'already', job.state, 0} end
if job.phase then return {'working', job.state, 0} end
if has_output(job) then return {'pictured', job.state, 0} end
if not has_images(job) then return {'imageless', job.state, 0} end
local now = clock()
requeue_job(job, now, tonumber(ARGV[2]))
return {'queued', job.state, admit_hint(now)}
