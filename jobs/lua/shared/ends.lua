-- Ends of a job, its next attempt, and what its results say.

-- Return one of several waits in a text, by its place; nil: there is none.
local function nth_wait(text, place)
  for wait in string.gmatch(text, '%d+') do
    place = place - 1
    if place == 0 then return tonumber(wait) end
  end
end

-- Return when a waiting job is checked again, at the latest.
local function recheck_at(job, now, recheck)
  local at = now + recheck
  if job.expires_at and is_first_attempt(job) then at = math.min(at, tonumber(job.expires_at)) end
  return at
end

-- Return whether a job had to be begun before a time that has passed. A job whose earlier attempt failed has begun.
local function has_expired(job, now)
  return job.expires_at and is_first_attempt(job) and tonumber(job.expires_at) <= now
end

-- Record that the attempt of a job that has ended is over at the provider, too: free its slots, keep its deliveries.
local function release_provider(job, now)
  local change = RECORD{phase = false, deadline = false, lookups = false, doubt_since = false, exists = false,
    lookup_at = false, delivery_at = false}
  move(job, job.state, change, now, job.owed and tonumber(job.delivery_at) or false)
end

-- Return the error code of a result, by which a batch counts its failed jobs; '' where there is none or it is too long.
local function code_of(result)
  local readable, body = pcall(cjson.decode, result or '')
  local code = readable and type(body) == 'table' and type(body.error) == 'table' and body.error.code
  return type(code) == 'string' and #code <= 64 and code or ''
end

-- Return what a result has cost in nano-dollars; 0 where there is none, or it cannot be read.
local function cost_of(result)
  local readable, body = pcall(cjson.decode, result or '')
  local cost = readable and type(body) == 'table' and body.cost
  local amount = type(cost) == 'string' and nano_of(cost) or 0
  return amount <= MOST_COUNTED and amount or 0
end

local function count_failure(batch, result, by)
  local field = BATCH.failed .. code_of(result)
  if redis.call('HINCRBY', KEY.batch .. batch, field, by) == 0 then redis.call('HDEL', KEY.batch .. batch, field) end
end

-- Cancel an unfinished job. What may run at the provider keeps its slots, and is watched until it is over.
local function cancel_job(job, now)
  local change = RECORD{ended_at = now, settled_by = 'cancel'}
  owe_deliveries(job, change, now)
  if job.state == 'queued' then
    change.reason = false
    move(job, 'cancelled', change, now, change.owed and now or false)
  else
    change.phase = job.state
    -- The delivery is due now; the look-up, or the end of the lease, stays when it was.
    if change.owed then change.lookup_at, change.delivery_at = next_lookup_at(job), now end
    move(job, 'cancelled', change, now, change.owed and now or nil)
  end
end

-- Return whether a cancelled job has output, which came late. It is paid for, and another attempt would throw it away.
local function has_output(job)
  local result = job.state == 'cancelled' and redis.call('GET', KEY.result .. job.id)
  return result and cjson.decode(result).output ~= nil
end

-- Return why a job cannot be queued again: already (it has not ended), refused (it is completed), working (the provider may
-- still work on it), has output (it was cancelled, but has paid output), or imageless (an image is not stored any more);
-- nil: it can.
local function retry_refusal(job)
  if job.state == 'completed' then return 'refused' end
  if not FINAL[job.state] then return 'already' end
  if job.phase then return 'working' end
  if has_output(job) then return 'has output' end
  if not has_images(job) then return 'imageless' end
end

-- Pause a job that waits.
local function pause_job(job)
  -- '0' where its time has not come; join_queue sets '1' when its alarm is due.
  local due = job.admitted_by or redis.call('ZSCORE', KEY.ready .. queue_of(job), job.id)
  local change = RECORD{paused = due and '1' or '0'}
  release_reservation(job, change)
  leave_dispatched(job, change)
  leave_queue(job)
  note_event(job, change, EVENT.paused, clock())
  save(job, change)
end

-- Resume a paused job at its old place in the queue.
local function resume_job(job)
  local due, change = job.paused == '1', RECORD{paused = false}
  note_event(job, change, EVENT.resumed, clock())
  save(job, change)
  if due then join_queue(job) end
end

-- Change the class of a job that waits. It keeps its time of creation, and so its place among those of its class.
local function change_priority(job, class)
  local waits = redis.call('ZSCORE', KEY.ready .. queue_of(job), job.id)
  leave_queue(job)
  save(job, RECORD{priority = class ~= '1' and class})
  if waits then join_queue(job) end
end

-- Queue a job again that is over, at the provider, too. If an attempt was sent, the next one has a new external id.
-- `more`: further fields to change with it, for a corrected request.
local function requeue_job(job, now, recheck, more)
  local change = RECORD{ended_at = false, settled_by = false, owed = false, sent = false, task_id = false,
    deadline = false, lookups = false, doubt_since = false, exists = false}
  change.reason, change.submit_tries, change.expires_at = false, false, false
  outdate_deliveries(job, change)
  if job.notification then note_notification(job, change, false, now) end
  if job.sent then change.attempt = attempt_of(job) + 1 end
  for field, value in pairs(more or {}) do change[field] = value end
  if job.state == 'failed' and job.batch then count_failure(job.batch, redis.call('GET', KEY.result .. job.id), -1) end
  count_earlier_cost(job, cost_of(redis.call('GET', KEY.result .. job.id)), change)
  redis.call('DEL', KEY.result .. job.id, KEY.finished_messages .. job.id)
  guarded(job.id, now, function() forget_task(job) end)
  move(job, 'queued', change, now, now + recheck, more and EVENT.corrected or EVENT.retried)
  join_queue(job)
end

local function expire_unpaid(job, now)
  local change = RECORD{ended_at = now, settled_by = 'expires_in', reason = 'it was not begun within its expires_in'}
  owe_deliveries(job, change, now)
  move(job, 'expired', change, now, change.owed and now or false)
end

-- Record how long a job is at the provider, and how long its images hold slots: averages over about the last sixteen
-- (jobs.eta). Call it before the job leaves.
local function record_durations(job, now)
  if job.state ~= 'in_progress' then return end
  local took, work = unpack(redis.call('HMGET', lane_of(job), 'took', 'work'))
  local function on(before, value)
    before = tonumber(before or value)
    return whole(before + (value - before) / 16)
  end
  local this = now - tonumber(job.updated_at)
  redis.call('HSET', lane_of(job), 'took', on(took, this), 'work', on(work, this * image_count(job)))
end
