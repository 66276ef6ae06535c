-- The life of a job, as every verb moves it: alarms, the one function that changes a state, ends, retries.

-- Set the alarm of a job: a time sets it, false clears it, nil leaves it.
local function alarm(job, at)
  if at then
    redis.call('ZADD', KEY.alarms, whole(at), job.id)
  elseif at == false then
    redis.call('ZREM', KEY.alarms, job.id)
  end
end

-- Schedule the next look-up or poll. A job that has ended may need it, because the provider is watched (`phase`), and a
-- delivery as well (`owed`). It has one alarm, at the earlier time; `lookup_at` and `delivery_at` keep the two.
local function schedule_lookup(job, at)
  if FINAL[job.state] and job.owed then
    save(job, RECORD{lookup_at = at})
    at = math.min(at, tonumber(job.delivery_at))
  end
  alarm(job, at)
end

-- Return when the next delivery is due; nil without an alarm.
local function next_delivery_at(job)
  return tonumber(job.phase and job.delivery_at or redis.call('ZSCORE', KEY.alarms, job.id) or nil)
end

-- Schedule the next delivery.
local function schedule_delivery(job, at)
  if job.phase then
    save(job, RECORD{delivery_at = at})
    at = math.min(at, tonumber(job.lookup_at))
  end
  alarm(job, at)
end

-- Schedule the next delivery of a kind. Where two kinds are owed, each has a time of its own, and the alarm is at the
-- earlier one: neither does a receiver delay Celery messages, nor is one kind repeated when the other is due.
local function schedule_kind(job, kind, at, now)
  if #job.owed > 1 then
    save(job, kind == 'c' and RECORD{celery_at = at} or RECORD{notify_at = at})
    local other = tonumber(kind == 'c' and job.notify_at or kind == 'n' and job.celery_at or nil)
    -- One whose time has come is under way, and is due again at the end of the claim's lease.
    if not other or other <= now then other = next_delivery_at(job) end
    at = math.min(at, other or at)
  end
  schedule_delivery(job, at)
end

-- Claim the deliveries of a job that are due: raise their fencing token, and move the alarm on by a lease.
local function claim_owed(job, now, lease)
  save(job, RECORD{delivery_fence = tonumber(job.delivery_fence or 0) + 1})
  local at = now + lease
  if #job.owed > 1 and job.celery_at and job.notify_at then
    local earlier = math.min(tonumber(job.celery_at), tonumber(job.notify_at))
    if earlier > now then at = earlier end -- none is due
  end
  schedule_delivery(job, at)
  job.now, job.fence = whole(now), job.delivery_fence
end

-- Return when the job is looked up or polled next; nil without an alarm.
local function next_lookup_at(job)
  return tonumber(FINAL[job.state] and job.owed and job.lookup_at or redis.call('ZSCORE', KEY.alarms, job.id) or nil)
end

-- Add a change of state to the stream of changes. The fields are always the same, so Redis stores their names once.
-- They are enough to follow the jobs without reading the records. `due`: when a new job may begin, where that is later;
-- `began`: the last start, before an end removes it.
local function publish_change(job, from, due, began)
  local starts, attempt = tonumber(job.starts or 1), attempt_of(job)
  -- The next start of a job that was started `starts` times is its `starts`-th repeat.
  local retries = math.max(starts, attempt) - 1
  if job.state == 'queued' and from ~= '' then retries = math.max(began and starts or 0, attempt - 1) end
  guarded(job.id, clock(), function()
    redis.call('XADD', KEY.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', job.id, 'state', job.state, 'from', from,
      'model', job.model, 'created', job.created_at, 'batch', job.batch or '', 'reason', job.reason or '',
      'due', due or '', 'began', began or '', 'retries', retries)
  end)
end

-- Count an end for the rate of the batch (jobs.eta).
local function count_end(batch, now)
  local span = math.floor(now / 1000000 / RATE_SPAN)
  local field = BATCH.ended .. span % RATE_RING
  -- Most ends follow another one in the same span.
  local count = redis.call('HINCRBY', KEY.batch .. batch, field, 1)
  if math.floor(count / RATE_SHIFT) ~= span then
    redis.call('HSET', KEY.batch .. batch, field, whole(span * RATE_SHIFT + 1))
  end
end

-- Change the state of a job. No other function does: record, index, counters of the batch, slots, uses of images, alarm
-- and stream of changes move together.
local function move(job, to, change, now, at)
  local from, held, held_by = job.state, HOLDS[phase_of(job)], lane_of(job)
  local stands = to
  if FINAL[to] then stands = change.phase end
  if stands == nil then stands = job.phase end
  local holds = HOLDS[stands]
  if from ~= to or not FINAL[from] then
    if not string.find(ALLOWED[from], ' ' .. to .. ' ', 1, true) then
      error('no transition from ' .. from .. ' to ' .. to .. ' for ' .. job.id)
    end
  end
  if stands == 'in_doubt' then
    -- Only a refusal says that this submission created nothing.
    if phase_of(job) ~= 'in_doubt' and not change.refusal then change.maybe_sent = '1' end
  else
    if job.forgotten then change.forgotten = false end
    if job.refusal then change.refusal = false end
    if stands ~= 'queued' and not holds then change.maybe_sent = false end
  end
  if from == 'queued' then
    if to ~= 'submitting' then release_reservation(job, change) end
    leave_dispatched(job, change)
    leave_queue(job)
    if to ~= 'queued' then change.paused = false end
  end
  if not holds then
    if job.unreadable_since then change.unreadable_since = false end
    if job.unanswered_since then change.unanswered_since = false end
    if job.no_result_since then change.no_result_since = false end
  end
  if held and not holds then
    redis.call('HINCRBY', held_by, 'slots', -image_count(job))
    release_reservation(job, change)
  end
  change.state, change.updated_at = to, now
  local began = job.started_at
  if FINAL[to] and not stands and not string.find(job.owed_at_end or '', 'c', 1, true) then
    change.started_at, change.starts = false, false
  end
  save(job, change)
  if holds and not held then
    local priced = {}
    redis.call('HINCRBY', lane_of(job), 'slots', image_count(job))
    reserve(job, job.lane or DEFAULT_LANE, priced)
    save(job, priced)
  end
  alarm(job, at)
  if from == to then return end
  if job.names_images and FINAL[from] ~= FINAL[to] then count_uses(images_of(job), FINAL[to] and -1 or 1, now) end
  if job.size and FINAL[from] ~= FINAL[to] then count_held(KEY.unfinished, owner_of_job(job), FINAL[to] and -1 or 1) end
  redis.call('ZREM', KEY.state .. from, job.id)
  redis.call('ZADD', KEY.state .. to, job.created_at, job.id)
  if job.batch then
    redis.call('HINCRBY', KEY.batch .. job.batch, from, -1)
    redis.call('HINCRBY', KEY.batch .. job.batch, to, 1)
    if FINAL[to] ~= FINAL[from] and count_unfinished(job.batch, class_of(job), FINAL[to] and -1 or 1) then
      note_batch_end(job.batch, now)
    end
    if FINAL[to] and not FINAL[from] and to ~= 'cancelled' then
      guarded(job.id, now, function() count_end(job.batch, now) end)
    end
    if job.pilot and FINAL[to] ~= FINAL[from] then count_pilot(job.batch, FINAL[to] and -1 or 1) end
  end
  publish_change(job, from, nil, began)
  if FINAL[to] and not FINAL[from] then redis.call('PUBLISH', KEY.ended .. job.id, to) end
end

-- Change where the attempt stands at the provider, whatever the producer has decided about the job meanwhile.
local function move_phase(job, where, change, now, at)
  if FINAL[job.state] then
    change.phase = where
    move(job, job.state, change, now)
    schedule_lookup(job, at)
  else
    move(job, where, change, now, at)
  end
end

-- Keep an attempt at its lane. It may have reached that account, and only the same account would notice a second
-- submission.
local function pin_to_lane(job, change)
  local lanes = redis.call('HGET', KEY.pools, job.pool or '')
  if lanes and string.find(lanes, ' ', 1, true) then
    change.pool = '@' .. (job.lane or DEFAULT_LANE)
    redis.call('HSETNX', KEY.pools, change.pool, job.lane or DEFAULT_LANE)
  end
end

-- Return whether no earlier attempt was made of the present revision of a job's request.
local function is_first_attempt(job) return attempt_of(job) == tonumber(job.first_attempt or 1) end

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

-- Record that a delivery of a kind was made. Returns 'clear' where nothing is owed any more, else 'owed'.
local function delivery_done(job, kind)
  local left = string.gsub(job.owed, kind, '')
  local change = kind == 'c' and RECORD{celery_tries = false} or RECORD{delivery_tries = false, notify_fence = false}
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

-- Record that the attempt of a job that has ended is over at the provider, too: free its slots, keep its deliveries.
local function release_provider(job, now)
  local change = RECORD{phase = false, deadline = false, lookups = false, doubt_since = false, exists = false,
    lookup_at = false, delivery_at = false}
  move(job, job.state, change, now, job.owed and tonumber(job.delivery_at) or false)
end

-- Return whether the caller still holds the job: another token means that another claim was made. '' needs no claim.
local function holds_fence(job, fence) return fence == '' or (job.fence or '0') == fence end

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

-- Queue a job again that is over, at the provider, too. If an attempt was sent, the next one has a new external id.
-- `more`: further fields to change with it.
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
  move(job, 'queued', change, now, now + recheck)
  join_queue(job)
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
  save(job, change)
end

-- Resume a paused job at its old place in the queue.
local function resume_job(job)
  local due = job.paused == '1'
  save(job, RECORD{paused = false})
  if due then join_queue(job) end
end

-- Change the class of a job that waits. It keeps its time of creation, and so its place among those of its class.
local function change_priority(job, class)
  local waits = redis.call('ZSCORE', KEY.ready .. queue_of(job), job.id)
  leave_queue(job)
  save(job, RECORD{priority = class ~= '1' and class})
  if waits then join_queue(job) end
end

-- Return whether a job had to be begun before a time that has passed. A job whose earlier attempt failed has begun.
local function has_expired(job, now)
  return job.expires_at and is_first_attempt(job) and tonumber(job.expires_at) <= now
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

local function arity(count)
  if #ARGV ~= count then error('expected ' .. count .. ' arguments, got ' .. #ARGV) end
end
