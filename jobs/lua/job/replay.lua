-- Send notifications again, for their producer: those that were accepted, failed or were given up. They use the places of
-- any notification (jobs/receivers.py), and their alarms are spread over time.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 who asks: a producer, or '*'
--       2 µs between two of them
--       3... ids of jobs, or of events of batches
-- Returns: an outcome for each: owed | under way (a worker sends it now) | nothing (the job has not ended, or notifies
--   nobody) | unknown (also one of another producer)
-- A repeat changes at most the time.
if #ARGV < 3 then error('expected a caller, a distance and ids') end
local now, outcomes = clock(), {}
local function replay(job, at)
  local owed = job.owed or ''
  if string.find(owed, 'n', 1, true) then
    if job.notify_fence then return 'under way' end
    schedule_kind(job, 'n', at, now)
    return 'owed'
  end
  local kinds = owed_deliveries(job)
  if not kinds or not string.find(kinds, 'n', 1, true) then return 'nothing' end
  local change = RECORD{owed = owed .. 'n', delivery_tries = false, notify_fence = false,
    delivery_fence = tonumber(job.delivery_fence or 0) + 1, version = VERSION}
  if owed ~= '' then change.celery_at = next_delivery_at(job) end
  if job.undelivered then
    local left = string.gsub(job.undelivered, 'n', '')
    if left == '' then forget_undelivered(job, change) else change.undelivered = left end
  end
  if job.phase then change.lookup_at = next_lookup_at(job) end
  note_notification(job, change, 'p', now)
  save(job, change)
  if owed ~= '' then schedule_kind(job, 'n', at, now) else schedule_delivery(job, at) end
  return 'owed'
end
local function replay_event(id, at)
  local event = read_event(id)
  if not event or not is_of(event.owner, ARGV[1]) then return 'unknown' end
  if is_owed(event.state) and event.sender then return 'under way' end
  if not is_owed(event.state) then
    redis.call('HSET', KEY.event .. id, 'tries', 0)
    set_event_state(event, 'p', now)
  end
  redis.call('ZADD', KEY.event_alarms, whole(at), id)
  return 'owed'
end
for i = 3, #ARGV do
  local is_event = string.sub(ARGV[i], 1, 1) == '!'
  local job = not is_event and read(ARGV[i])
  if is_event then
    outcomes[#outcomes + 1] = replay_event(ARGV[i], now + (i - 3) * tonumber(ARGV[2]))
  elseif not job or not is_of(owner_of_job(job), ARGV[1]) then
    outcomes[#outcomes + 1] = 'unknown'
  elseif not FINAL[job.state] then
    outcomes[#outcomes + 1] = 'nothing'
  else
    outcomes[#outcomes + 1] = replay(job, now + (i - 3) * tonumber(ARGV[2]))
  end
end
return outcomes
