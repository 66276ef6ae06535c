-- The life of a job, as every verb moves it: alarms, the one way to change a state, ends, second tries.

-- An alarm: a time sets it, false clears it, nil leaves it.
local function alarm(job, at)
  if at then
    redis.call('ZADD', KEY.alarms, whole(at), job.id)
  elseif at == false then
    redis.call('ZREM', KEY.alarms, job.id)
  end
end

-- A job that is over for us may have two things left: the provider to be watched (p) and a delivery to be made (g). It
-- stands in the alarms once all the same, at the earlier time; `z` and `i` keep the two apart.
local function schedule_lookup(job, at)
  if FINAL[job.state] and job.owed then
    save(job, RECORD{lookup_at = at})
    at = math.min(at, tonumber(job.delivery_at))
  end
  alarm(job, at)
end

local function schedule_delivery(job, at)
  if job.phase then
    save(job, RECORD{delivery_at = at})
    at = math.min(at, tonumber(job.lookup_at))
  end
  alarm(job, at)
end

-- When someone looks at the provider next; nil without an alarm.
local function next_lookup_at(job)
  return tonumber(FINAL[job.state] and job.owed and job.lookup_at or redis.call('ZSCORE', KEY.alarms, job.id) or nil)
end

-- Tell the stream of changes. Always the same fields, which Redis then stores once; enough to tell it without a look at
-- the record.
local function publish_change(job, from)
  redis.call('XADD', KEY.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', job.id, 'state', job.state, 'from', from,
    'model', job.model, 'created', job.created_at, 'batch', job.batch or '', 'reason', job.reason or '')
end

-- Count an end for the batch's rate (jobs.eta).
local function count_end(batch, now)
  local span = math.floor(now / 1000000 / RATE_SPAN)
  local field = 'r:' .. span % RATE_RING
  local before = tonumber(redis.call('HGET', KEY.batch .. batch, field) or 0)
  if math.floor(before / RATE_SHIFT) == span then
    redis.call('HINCRBY', KEY.batch .. batch, field, 1)
  else
    redis.call('HSET', KEY.batch .. batch, field, whole(span * RATE_SHIFT + 1))
  end
end

-- The one way in which a state changes: record, index, batch counters, slots, uses of images, alarm and the stream of
-- changes together.
local function move(job, to, change, now, at)
  local from, held, held_by = job.state, HOLDS[phase_of(job)], lane_of(job)
  local stands = to
  if FINAL[to] then stands = change.phase end
  if stands == nil then stands = job.phase end
  local holds = HOLDS[stands]
  if from ~= to or not FINAL[from] then
    if not ALLOWED[from][to] then error('no transition from ' .. from .. ' to ' .. to .. ' for ' .. job.id) end
  end
  if job.forgotten and stands ~= 'in_doubt' then change.forgotten = false end
  if from == 'queued' then
    if to ~= 'submitting' then release_reservation(job, change) end
    leave_dispatched(job, change)
    leave_queue(job)
    if to ~= 'queued' then change.paused = false end
  end
  if held and not holds then
    redis.call('HINCRBY', held_by, 'slots', -image_count(job))
    release_reservation(job, change)
  end
  change.state, change.updated_at = to, now
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
  redis.call('ZREM', KEY.state .. from, job.id)
  redis.call('ZADD', KEY.state .. to, job.created_at, job.id)
  if job.batch then
    redis.call('HINCRBY', KEY.batch .. job.batch, from, -1)
    redis.call('HINCRBY', KEY.batch .. job.batch, to, 1)
    if FINAL[to] ~= FINAL[from] then count_unfinished(job.batch, class_of(job), FINAL[to] and -1 or 1) end
    if FINAL[to] and not FINAL[from] and to ~= 'cancelled' then count_end(job.batch, now) end
  end
  publish_change(job, from)
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

-- An attempt that may have reached an account must not go out through another one: only the same account would notice
-- that it has it already.
local function pin_to_lane(job, change)
  local lanes = redis.call('HGET', KEY.pools, job.pool or '')
  if lanes and string.find(lanes, ' ', 1, true) then
    change.pool = '@' .. (job.lane or DEFAULT_LANE)
    redis.call('HSETNX', KEY.pools, change.pool, job.lane or DEFAULT_LANE)
  end
end

-- When to look at a waiting job, at the latest.
local function recheck_at(job, now, recheck)
  local at = now + recheck
  if job.expires_at and attempt_of(job) == 1 then at = math.min(at, tonumber(job.expires_at)) end
  return at
end

-- What is owed when a job ends. A second end (a late result) is told to those who asked to be notified, but does not
-- finish a Celery message twice; one that the first end still owes stays owed.
local function owed_deliveries(job, again)
  local owing = job.owed_at_end or ''
  if again and not string.find(job.owed or '', 'c', 1, true) then owing = string.gsub(owing, 'c', '') end
  return owing ~= '' and owing or false
end

-- One kind of delivery is made. Returns 'clear' when nothing is owed any more, else 'owed'.
local function delivery_done(job, kind)
  local left = string.gsub(job.owed, kind, '')
  if left ~= '' then
    -- The one who makes the deliveries goes on with the next; its lease, or the time of another's next try, stands.
    save(job, RECORD{owed = left})
    return 'owed'
  end
  local look = job.phase and tonumber(job.lookup_at) or false
  save(job, RECORD{owed = false, delivery_tries = false, lookup_at = false, delivery_at = false, delivery_error = false})
  alarm(job, look)
  return 'clear'
end

-- A new end, or none any more: a delivery of the old one that was given up is not to be made again.
local function forget_undelivered(job, change)
  if not job.undelivered then return end
  redis.call('ZREM', KEY.undelivered, job.id)
  change.undelivered, change.delivery_error = false, false
end

-- What stands for a Celery message: a repeat of it has the same one.
local function mark_of(continuation) return string.sub(redis.sha1hex(continuation), 1, 16) end

-- A new end: who is delivering an older one has no say any more.
local function outdate_deliveries(job) return job.delivery_fence and tonumber(job.delivery_fence) + 1 or nil end

-- The provider knows nothing of the attempt of a job that is over for us: free its slots, keep only deliveries.
local function release_provider(job, now)
  local change = RECORD{phase = false, deadline = false, lookups = false, doubt_since = false, exists = false, lookup_at = false, delivery_at = false}
  move(job, job.state, change, now, job.owed and tonumber(job.delivery_at) or false)
end

-- A stale fence means that another holder has taken over; '' means that no claim is needed.
local function holds_fence(job, fence) return fence == '' or (job.fence or '0') == fence end

-- How many of a batch failed, by error code: what a retry by code would take is known without a look at the jobs.
local function code_of(result)
  local readable, body = pcall(cjson.decode, result or '')
  local code = readable and type(body) == 'table' and type(body.error) == 'table' and body.error.code
  return type(code) == 'string' and #code <= 64 and code or ''
end

local function count_failure(batch, result, by)
  local field = 'x:' .. code_of(result)
  if redis.call('HINCRBY', KEY.batch .. batch, field, by) == 0 then redis.call('HDEL', KEY.batch .. batch, field) end
end

-- The producer gives up on an unfinished job. What may be running at the provider keeps its slots and is watched to its
-- end.
local function cancel_job(job, now)
  local change = RECORD{ended_at = now, settled_by = 'cancel', owed = owed_deliveries(job)}
  if job.state == 'queued' then
    change.reason = false
    move(job, 'cancelled', change, now, change.owed and now or false)
  else
    change.phase = job.state
    -- The delivery is due now; the look at the provider, or the end of the lease, when it was.
    if change.owed then change.lookup_at, change.delivery_at = next_lookup_at(job), now end
    move(job, 'cancelled', change, now, change.owed and now or nil)
  end
end

-- A cancelled job's pictures may have come late. They are paid for, and another attempt would throw them away.
local function has_output(job)
  local result = job.state == 'cancelled' and redis.call('GET', KEY.result .. job.id)
  return result and cjson.decode(result).output ~= nil
end

-- Queue a job again that is over, at the provider too. An attempt that was sent is over: the next has a new external id.
local function requeue_job(job, now, recheck)
  local change = RECORD{ended_at = false, settled_by = false, owed = false, sent = false, task_id = false, deadline = false, lookups = false, doubt_since = false, exists = false}
  change.reason, change.submit_tries, change.delivery_tries, change.delivery_fence, change.expires_at = false, false, false, outdate_deliveries(job), false
  forget_undelivered(job, change)
  if job.sent then change.attempt = attempt_of(job) + 1 end
  if job.state == 'failed' and job.batch then count_failure(job.batch, redis.call('GET', KEY.result .. job.id), -1) end
  redis.call('DEL', KEY.result .. job.id, KEY.told .. job.id)
  move(job, 'queued', change, now, now + recheck)
  join_queue(job)
end

-- A job that had to be begun before a time that has passed: it ends, and nothing was sent that could be paid. One whose
-- earlier attempt failed has begun.
local function has_expired(job, now) return job.expires_at and attempt_of(job) == 1 and tonumber(job.expires_at) <= now end

local function expire_unpaid(job, now)
  local change = RECORD{ended_at = now, settled_by = 'expires_in', owed = owed_deliveries(job), reason = 'it was not begun within its expires_in'}
  move(job, 'expired', change, now, change.owed and now or false)
end

-- How long a job is at the provider, and how long its images hold slots, on average over about the last sixteen
-- (jobs.eta). Called before the job leaves.
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
