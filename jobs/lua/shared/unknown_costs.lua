-- Results of unknown cost: the provider named an amount that cannot be read, or none although a cap applies. What is
-- spent is then not known, so a cap stops jobs until a person settles the cost (settle_cost.lua), or the producer sets
-- a new cap of the batch, which waives it (pause.lua).
--
-- The record of such a job names the lane and what was sent, `<lane>|<text>`. The index has the time of the last such
-- result. Fields of the batch's hash: unknown_costs, its jobs of unknown cost; waived, those of them that ended before
-- waived_at, the time of the last new cap.

-- Return whether the cost of a result is unknown. `sent`: what the provider sent instead of an amount, '' for nothing;
-- `bought`: the provider completed the task; `budgets`: the lanes ('l<lane>') and keys ('k<key>') with a daily budget,
-- as JSON.
local function is_unknown_cost(job, cost, sent, bought, budgets)
  if cost ~= '' or sent ~= '' or not bought then return cost == '' and sent ~= '' end
  if job.batch and batch_of(job.batch).cap then return true end
  budgets = cjson.decode(budgets)
  return budgets[PAYER.lane .. (job.lane or DEFAULT_LANE)] or budgets[PAYER.key .. owner_of_job(job)] or false
end

-- Count a job of unknown cost in its batch, once more or once less. `at`: its time in the index.
local function count_unknown_in_batch(batch, at, by)
  local key = KEY.batch .. batch
  local function add(field)
    if redis.call('HINCRBY', key, field, by) == 0 then redis.call('HDEL', key, field) end
  end
  add('unknown_costs')
  local waived_at = by < 0 and tonumber(redis.call('HGET', key, 'waived_at') or nil)
  if waived_at and at <= waived_at and redis.call('HEXISTS', key, 'waived') == 1 then add('waived') end
end

-- The same in its batch and in the ledger of the day.
local function count_unknown_cost(job, lane, at, by)
  local key, owner = KEY.spent .. day_of(at), owner_of_job(job)
  local function add(field)
    if redis.call('HINCRBY', key, field, by) == 0 then redis.call('HDEL', key, field) end
  end
  if by > 0 or redis.call('EXISTS', key) == 1 then
    add(ENTRY.unknown .. entry_of(job, lane))
    add(ENTRY.unknown_of .. PAYER.lane .. lane)
    if owner ~= '' then add(ENTRY.unknown_of .. PAYER.key .. owner) end
  end
  if job.batch then count_unknown_in_batch(job.batch, at, by) end
end

-- Forget the unknown cost of a job. Returns its lane, and when it was recorded.
local function forget_unknown_cost(job, now)
  local lane = string.match(job.unknown_cost, '^([^|]+)|') or DEFAULT_LANE
  local at = tonumber(redis.call('ZSCORE', KEY.unknown_costs, job.id) or now)
  count_unknown_cost(job, lane, at, -1)
  redis.call('ZREM', KEY.unknown_costs, job.id)
  save(job, RECORD{unknown_cost = false, unknown_attempts = false})
  return lane, at
end

-- Return the first and the last attempt of unknown cost; nil: there is none. Other versions noted no attempts.
local function unknown_attempts(job)
  if not job.unknown_cost then return nil end
  local first, last = string.match(job.unknown_attempts or '', '^(%d+) (%d+)$')
  return tonumber(first or attempt_of(job)), tonumber(last or attempt_of(job))
end

-- Record that the cost of a result is unknown. An earlier attempt's may be, too: the job counts once.
local function record_unknown_cost(job, sent, now)
  local first = unknown_attempts(job)
  if first then forget_unknown_cost(job, now) end
  local lane, attempt = job.lane or DEFAULT_LANE, attempt_of(job)
  save(job, RECORD{unknown_cost = lane .. '|' .. sent, unknown_attempts = (first or attempt) .. ' ' .. attempt})
  redis.call('ZADD', KEY.unknown_costs, whole(now), job.id)
  count_unknown_cost(job, lane, now, 1)
  redis.call('HINCRBY', KEY.lane .. lane, 'unknown_costs', 1)
end
