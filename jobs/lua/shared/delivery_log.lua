-- The log of notifications (jobs/delivery_log.py): the attempts of each, and an index for each owner and state. Nothing
-- else depends on it.

local function notifications_in(state, owner) return KEY.notifications .. state .. '|' .. owner end

-- Move a job or an event from the index of one state of its notification to that of another; false: to none.
local function index_notification(id, owner, before, state, now)
  guarded(id, clock(), function()
    if before and before ~= state then redis.call('ZREM', notifications_in(before, owner), id) end
    if not state then return end
    local index = notifications_in(state, owner)
    redis.call('ZADD', index, whole(now), id)
    if state == 'd' and redis.call('ZCARD', index) > DELIVERED_KEPT then
      redis.call('DEL', KEY.attempts .. redis.call('ZPOPMIN', index)[1])
    end
  end)
end

-- Note the state of a job's notification; false: it is to notify nobody any more. What is to be saved goes into `change`.
local function note_notification(job, change, state, now)
  index_notification(job.id, owner_of_job(job), job.notification, state, now)
  change.notification = state
end

-- Add an attempt, as JSON, to the log of a job or an event. A repeat adds nothing.
local function log_attempt(id, attempt)
  local key = KEY.attempts .. id
  if attempt == '' then return end
  guarded(id, clock(), function()
    if redis.call('LINDEX', key, -1) == attempt then return end
    redis.call('RPUSH', key, attempt)
    redis.call('LTRIM', key, -ATTEMPTS_KEPT, -1)
  end)
end
