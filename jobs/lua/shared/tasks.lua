-- The index of jobs by the provider's task id, of the attempt that a job has now: many small hashes, which Redis stores
-- compactly (jobs.store.search). A part of the id's digest stands for it.

local function task_place(task)
  local digest = redis.sha1hex(task)
  return KEY.tasks .. string.sub(digest, 1, 4), string.sub(digest, 5, 14)
end

local function index_task(job, task)
  local key, field = task_place(task)
  redis.call('HSET', key, field, job.id)
end

-- Call it before a job loses its task id.
local function forget_task(job)
  if not job.task_id then return end
  local key, field = task_place(job.task_id)
  redis.call('HDEL', key, field)
end
