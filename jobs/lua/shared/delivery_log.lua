-- The log of notifications (jobs/delivery_log.py): the attempts of each, and an index for each owner and state. Nothing
-- else depends on it.

local function notifications_in(state, owner) return KEY.notifications .. state .. '|' .. owner end

-- Enter a job into the index of its notification's new state; false: it is to notify nobody any more. What is to be
-- saved goes into `change`.
local function note_notification(job, change, state, now)
  local owner = owner_of_job(job)
  if job.notification and job.notification ~= state then
    redis.call('ZREM', notifications_in(job.notification, owner), job.id)
  end
  change.notification = state
  if not state then return end
  local index = notifications_in(state, owner)
  redis.call('ZADD', index, whole(now), job.id)
  if state == 'd' and redis.call('ZCARD', index) > DELIVERED_KEPT then
    redis.call('DEL', KEY.attempts .. redis.call('ZPOPMIN', index)[1])
  end
end

-- Add an attempt, as JSON, to the log of a job. A repeat adds nothing.
local function log_attempt(job, attempt)
  local key = KEY.attempts .. job.id
  if attempt == '' or redis.call('LINDEX', key, -1) == attempt then return end
  redis.call('RPUSH', key, attempt)
  redis.call('LTRIM', key, -ATTEMPTS_KEPT, -1)
end
