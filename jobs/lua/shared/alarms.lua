-- The alarm of a job: when it is looked up, polled or delivered next.

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
