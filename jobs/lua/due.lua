-- Claim the jobs whose alarm has rung, pushing each alarm on as a lease and raising the fence. What needs no look
-- outside is done here: a waiting job is put (back) into the queue, or expires; a submission whose lease is over is in doubt.
-- While a lane's circuit breaker is open, looks through it wait, for about as long as it has been open so far, and are
-- spread, so that they come back one by one.
-- ARGV: most jobs to claim, lease in µs, µs until a waiting job is re-checked, longest wait for a closed breaker in µs,
--       lease of submissions in µs, '1' where a restart of Redis counts as a loss of data
-- Returns: {a hint to admit (0|1), how many rang, number of the epoch, then one record as JSON for each job to act upon}
-- A claim is for one thing: a record with `g` for its delivery (`f` is that claim's fence), one without for a look.
arity(6)
expect_installation()
local now = clock()
local lease, recheck = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('DEL', KEY.ring)
redis.call('HSET', KEY.totals, 'round', whole(now))
notice_restart(now, tonumber(ARGV[5]), ARGV[6])
local rung = redis.call('ZRANGEBYSCORE', KEY.alarms, '-inf', whole(now), 'LIMIT', 0, ARGV[1])
local answer = {0, #rung, epoch().number}
local readied = false
local breakers = {}
-- When to look again instead of now; nil: the breaker is closed.
local function later(job, place)
  local lane = lane_of(job)
  if breakers[lane] == nil then breakers[lane] = redis.call('HGET', lane, 'open') end
  if not breakers[lane] then return nil end
  local wait = math.min(tonumber(ARGV[4]), math.max(PROBE_BASE, now - tonumber(breakers[lane])))
  return now + wait / 2 + wait / 2 * place / #rung
end
for place, id in ipairs(rung) do
  local job, newer = read(id)
  if newer then
    alarm({id = id}, now + lease) -- who knows such records may be faster
  elseif not job or (FINAL[job.s] and not job.p and not job.g) then
    redis.call('ZREM', KEY.alarms, id)
  elseif job.s == 'queued' and too_late(job, now) then
    expire_unpaid(job, now)
  elseif job.s == 'queued' then
    put_back(job)
    alarm(job, recheck_at(job, now, recheck))
    readied = true
  elseif job.g and (not job.p or tonumber(job.i) <= now) then
    save(job, {j = tonumber(job.j or 0) + 1})
    deliver_at(job, now + lease)
    job.now, job.f = whole(now), job.j
    answer[#answer + 1] = cjson.encode(job)
  else
    local change, wait, doubtful = {f = next_fence(job)}, later(job, place), doubted(job)
    if phase(job) == 'submitting' then
      change.x, change.l, change.r = now, false, 'the lease of the worker that was sending it ran out'
      if doubtful then doubt_epoch(change, now) end
      stand(job, 'in_doubt', change, now, wait or now + lease)
    elseif wait then
      look_at(job, wait)
    else
      if doubtful and phase(job) == 'in_doubt' then doubt_epoch(change, job.x) end
      save(job, change)
      look_at(job, now + lease)
    end
    if not wait then
      job.now, job.g = whole(now), nil
      answer[#answer + 1] = cjson.encode(job)
    end
  end
end
if readied then answer[1] = wake(now) end
return answer
