-- Claim the jobs whose alarm is due: each alarm moves on by a lease, and the fencing token rises. What needs no call to
-- the provider is done here: a waiting job returns to its queue or expires; a submission whose lease is over is in
-- doubt. While the circuit breaker of a lane is open, look-ups through it wait for about as long as it has been open so
-- far, and are spread over that time, so that they do not all come at once when it closes.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 most jobs to claim
--       2 lease in µs
--       3 µs until a waiting job is checked again
--       4 longest wait for an open breaker in µs
--       5 lease of submissions in µs
--       6 '1' where a restart of Redis counts as a loss of data
-- Returns: {1 to send an admission hint, how many alarms were due, number of the epoch, then for each claimed job its
--   record as JSON with `id` and `now` (µs)}. A damaged job is {id, damaged = what is wrong} and is left as it is.
-- A claim is for one thing: for deliveries where the record has `owed` (then `fence` is the token of deliveries), else
-- for a look-up or poll.
arity(6)
expect_installation()
local now = clock()
local lease, recheck = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('DEL', KEY.reconcile_hint)
-- The signs of life of the service (jobs/liveness.py). Nothing else depends on them.
local last = redis.pcall('HGET', KEY.totals, 'round')
if math.abs(now - (type(last) == 'string' and tonumber(last) or 0)) > STALLED_AFTER then
  redis.pcall('HSET', KEY.totals, 'resumed', whole(now))
end
redis.pcall('HSET', KEY.totals, 'round', whole(now))
notice_restart(now, tonumber(ARGV[5]), ARGV[6])
local due = redis.call('ZRANGEBYSCORE', KEY.alarms, '-inf', whole(now), 'LIMIT', 0, ARGV[1])
local answer = {0, #due, epoch().number}
local requeued = false
local breakers = {}
-- Return when to look the job up instead of now; nil: the breaker is closed.
local function end_of_breaker_wait(job, place)
  local lane = lane_of(job)
  if breakers[lane] == nil then breakers[lane] = redis.call('HGET', lane, 'open') end
  if not breakers[lane] then return nil end
  local wait = math.min(tonumber(ARGV[4]), math.max(PROBE_BASE, now - tonumber(breakers[lane])))
  return now + wait / 2 + wait / 2 * place / #due
end
-- Act upon a job whose record is sound, or missing.
local function act(place, id, job)
  if not job or (FINAL[job.state] and not job.phase and not job.owed) then
    redis.call('ZREM', KEY.alarms, id)
  elseif job.state == 'queued' and has_expired(job, now) then
    expire_unpaid(job, now)
  elseif job.state == 'queued' then
    put_back(job)
    alarm(job, recheck_at(job, now, recheck))
    requeued = true
  elseif is_held(job) then
    alarm(job, now + HELD_RECHECK)
  elseif job.owed and (not job.phase or tonumber(job.delivery_at) <= now) then
    claim_owed(job, now, lease)
    return job
  else
    local change, wait, doubtful = RECORD{fence = next_fence(job)}, end_of_breaker_wait(job, place), needs_lookup(job)
    if phase_of(job) == 'submitting' then
      change.doubt_since, change.lookups, change.reason = now, false,
        'the lease of the worker that was sending it ran out'
      if doubtful then set_epoch_doubt(change, now) end
      move_phase(job, 'in_doubt', change, now, wait or now + lease)
    elseif wait then
      -- An outage of the provider: the patience with this job (worker/answers.py) starts anew.
      if job.unanswered_since then save(job, RECORD{unanswered_since = false}) end
      schedule_lookup(job, wait)
    else
      if doubtful and phase_of(job) == 'in_doubt' then set_epoch_doubt(change, job.doubt_since) end
      save(job, change)
      schedule_lookup(job, now + lease)
    end
    if not wait then
      job.now, job.owed = whole(now), nil
      return job
    end
  end
end
local has_damaged = redis.call('EXISTS', KEY.damaged) == 1
for place, id in ipairs(due) do
  local job, problem, why = read(id)
  if not problem then
    local ok, answered = pcall(act, place, id, job)
    if not ok then
      problem, why = 'damaged', 'what stands beside its record is damaged: '
        .. (type(answered) == 'table' and answered.err or tostring(answered))
    else
      if answered then answer[#answer + 1] = cjson.encode(answered) end
      if has_damaged then redis.call('ZREM', KEY.damaged, id) end
    end
  end
  if problem then alarm({id = id}, now + lease) end -- a later version's worker may act on it before
  if problem == 'damaged' then
    note_damaged(id, now)
    answer[#answer + 1] = cjson.encode({id = id, damaged = why})
  end
end
if requeued then
  local could, hint = pcall(admit_hint, now)
  answer[1] = could and hint or 1
end
return answer
