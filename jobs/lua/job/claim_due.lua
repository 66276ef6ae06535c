-- Claim the jobs whose alarm has rung, pushing each alarm on as a lease and raising the fence. What needs no look
-- outside is done here: a waiting job is put (back) into the queue, or expires; a submission whose lease is over is in doubt.
-- While a lane's circuit breaker is open, looks through it wait, for about as long as it has been open so far, and are
-- spread, so that they come back one by one.
-- ARGV: most jobs to claim, lease in µs, µs until a waiting job is re-checked, longest wait for a closed breaker in µs,
--       lease of submissions in µs, '1' where a restart of Redis counts as a loss of data
-- Returns: {a hint to admit (0|1), how many rang, number of the epoch, then one record as JSON for each job to act upon}; of a
-- damaged one only {id, damaged = what is wrong with it}, which is left as it is
-- A claim is for one thing: a record with `g` for its delivery (`f` is that claim's fence), one without for a look.
arity(6)
expect_installation()
local now = clock()
local lease, recheck = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('DEL', KEY.reconcile_hint)
redis.pcall('HSET', KEY.totals, 'round', whole(now)) -- for people only
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
-- Act upon one whose record is as it should be, or is not there.
local function act(place, id, job)
  if not job or (FINAL[job.state] and not job.phase and not job.owed) then
    redis.call('ZREM', KEY.alarms, id)
  elseif job.state == 'queued' and has_expired(job, now) then
    expire_unpaid(job, now)
  elseif job.state == 'queued' then
    put_back(job)
    alarm(job, recheck_at(job, now, recheck))
    readied = true
  elseif job.owed and (not job.phase or tonumber(job.delivery_at) <= now) then
    save(job, RECORD{delivery_fence = tonumber(job.delivery_fence or 0) + 1})
    schedule_delivery(job, now + lease)
    job.now, job.fence = whole(now), job.delivery_fence
    return job
  else
    local change, wait, doubtful = RECORD{fence = next_fence(job)}, later(job, place), needs_lookup(job)
    if phase_of(job) == 'submitting' then
      change.doubt_since, change.lookups, change.reason = now, false, 'the lease of the worker that was sending it ran out'
      if doubtful then set_epoch_doubt(change, now) end
      move_phase(job, 'in_doubt', change, now, wait or now + lease)
    elseif wait then
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
local noted = redis.call('EXISTS', KEY.damaged) == 1
for place, id in ipairs(rung) do
  local job, odd, why = read(id)
  if not odd then
    local fine, said = pcall(act, place, id, job)
    if not fine then
      odd, why = 'damaged', 'what stands beside its record is damaged: ' .. (type(said) == 'table' and said.err or tostring(said))
    else
      if said then answer[#answer + 1] = cjson.encode(said) end
      if noted then redis.call('ZREM', KEY.damaged, id) end
    end
  end
  if odd then alarm({id = id}, now + lease) end -- a later version's: who knows such records may be faster
  if odd == 'damaged' then
    note_damaged(id, now)
    answer[#answer + 1] = cjson.encode({id = id, damaged = why})
  end
end
if readied then
  local could, woke = pcall(admit_hint, now)
  answer[1] = could and woke or 1
end
return answer
