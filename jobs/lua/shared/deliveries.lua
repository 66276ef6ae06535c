-- What is owed after the end of a job: notifications and Celery messages.

-- Return whether no earlier attempt was made of the present revision of a job's request.
local function is_first_attempt(job) return attempt_of(job) == tonumber(job.first_attempt or 1) end

-- Return whether a job was ever handed to a worker.
local function has_begun(job) return job.sent or job.started_at or not is_first_attempt(job) end

-- Return the deliveries that the end of a job calls for; false: none. A second end (a late result) notifies again, but
-- does not finish a Celery message twice. What the first end still owes stays owed.
local function owed_deliveries(job, again)
  local deliveries = job.owed_at_end or ''
  if again and not string.find(job.owed or '', 'c', 1, true) then deliveries = string.gsub(deliveries, 'c', '') end
  if job.only_begun and not has_begun(job) then deliveries = string.gsub(deliveries, 'n', '') end
  return deliveries ~= '' and deliveries or false
end

-- Owe the deliveries that the end of a job calls for. What is to be saved goes into `change`.
local function owe_deliveries(job, change, now, again)
  change.owed = owed_deliveries(job, again)
  if change.owed and string.find(change.owed, 'n', 1, true) then note_notification(job, change, 'p', now) end
end

-- Return whether the deliveries of a job wait until its results are saved, or given up.
local function is_held(job) return job.saves_first and job.save_since end

-- Record that a delivery of a kind was made, with further fields to change. Returns 'clear' where nothing is owed any
-- more, else 'owed'.
local function delivery_done(job, kind, change)
  local left = string.gsub(job.owed, kind, '')
  if kind == 'c' then change.celery_tries = false else change.delivery_tries, change.notify_fence = false, false end
  change.celery_at, change.notify_at = false, false
  if left ~= '' then
    -- One that is under way is due again at the end of the claim's lease, which is the alarm.
    local at = tonumber(left == 'c' and job.celery_at or left == 'n' and job.notify_at or nil)
    change.owed = left
    save(job, change)
    if at and at > clock() then schedule_delivery(job, at) end
    return 'owed'
  end
  local lookup_at = job.phase and tonumber(job.lookup_at) or false
  change.owed, change.lookup_at, change.delivery_at, change.delivery_error = false, false, false, false
  save(job, change)
  alarm(job, lookup_at)
  return 'clear'
end

-- Forget a delivery of an earlier end that was given up: the job has a new end, or none any more.
local function forget_undelivered(job, change)
  if not job.undelivered then return end
  redis.call('ZREM', KEY.undelivered, job.id)
  change.undelivered, change.delivery_error = false, false
end

-- Return what stands for a Celery message: a repeat of it has the same mark.
local function mark_of(continuation) return string.sub(redis.sha1hex(continuation), 1, 16) end

-- Return the Celery id in a field of a job's parked messages, `<Celery id>\n<identity>`. The version before wrote only
-- the id.
local function task_of(field) return (string.gsub(field, '\n%x+$', '')) end

-- Owe Celery messages that came after the end of their job. A worker that finished earlier ones can no longer record
-- anything: it does not know of these. One that only notifies the producer goes on, or the producer is notified twice.
local function owe_messages(job, at)
  local change = RECORD{owed = (job.owed or '') .. 'c'}
  if string.find(job.owed_at_end or '', 'c', 1, true) or redis.call('HLEN', KEY.parked .. job.id) > 1 then
    change.delivery_fence = tonumber(job.delivery_fence or 0) + 1
  end
  if job.owed then
    local other = next_delivery_at(job)
    change.celery_at, change.notify_at = at, other
    at = math.min(at, other or at)
  end
  if job.phase then change.lookup_at = next_lookup_at(job) end
  save(job, change)
  schedule_delivery(job, at)
end

-- Forget how far the deliveries of an earlier end are, and raise their fencing token: a worker that still makes them can
-- no longer record it.
local function outdate_deliveries(job, change)
  change.delivery_fence = job.delivery_fence and tonumber(job.delivery_fence) + 1 or nil
  change.delivery_tries, change.celery_tries, change.celery_at, change.notify_at = false, false, false, false
  change.notify_fence = false
  forget_undelivered(job, change)
end
