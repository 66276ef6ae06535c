-- The health of a lane and its learned limit. Fields of the lane's hash, beside those in jobs/store/redis_keys.py:
--   most, learn     max_in_flight, and '1' where the limit is learned, as the last admission had them
--   limit           the learned limit; fractions count
--   cut, grown      when the limit was last cut, and when growth was last noted
--   bad             calls in a row without an answer
--   opened          how often the circuit breaker has opened
--   open, because   since when and why it is open
--   probe, probes   when the next probe is due, and how many there were

-- Add to the lane's history, newest first (jobs.lane_health.LaneEvent).
local function add_history(name, now, what, limit, reason)
  local entry = {at = whole(now), what = what, limit = limit and string.format('%.2f', limit), reason = reason}
  redis.call('LPUSH', KEY.history .. name, cjson.encode(entry))
  redis.call('LTRIM', KEY.history .. name, 0, HISTORY - 1)
end

-- Record whether the provider answered a call (jobs.lane_health.Reachability): 'answer', of any kind; 'silence',
-- no answer or 5xx, which counts until the breaker opens; 'unreadable' or 'no_result', which are counted in a metric
-- only; 'unanswered', which concerns one task; '' where there was no call, or it proves neither.
local function record_call(name, reached, reason, now)
  local lane = KEY.lane .. name
  if reached == 'answer' then
    redis.call('HDEL', lane, 'bad')
  elseif reached == 'silence' then
    if redis.call('HINCRBY', lane, 'bad', 1) >= FAILURES_TO_OPEN
      and redis.call('HSETNX', lane, 'open', whole(now)) == 1 then
      redis.call('HSET', lane, 'because', reason, 'probe', whole(now + PROBE_BASE), 'probes', 0)
      redis.call('HINCRBY', lane, 'opened', 1)
      redis.call('SADD', KEY.lanes, name)
      add_history(name, now, 'opened', nil, reason)
    end
  elseif reached == 'unreadable' or reached == 'no_result' then
    redis.pcall('HINCRBY', KEY.totals, 'unreadable', 1) -- for the metric only
  elseif reached ~= 'unanswered' and reached ~= '' then
    error('expected answer, silence, unreadable, no_result, unanswered or nothing, not ' .. reached)
  end
end

-- Return the most images at once: the lower of the limits that are set (`most`; 0: no limit) and learned (nil or false:
-- none).
local function slots_limit(most, learned)
  if not learned then return most end
  learned = math.max(1, math.floor(tonumber(learned)))
  return most > 0 and math.min(most, learned) or learned
end

-- Return the most images at once for an admission, and note the settings. A lane that begins to learn gets a limit.
local function capacity(name, most, learn)
  local lane = KEY.lane .. name
  local before, learning, limit = unpack(redis.call('HMGET', lane, 'most', 'learn', 'limit'))
  if before ~= whole(most) or learning ~= learn then
    redis.call('HSET', lane, 'most', whole(most), 'learn', learn)
    redis.call('SADD', KEY.lanes, name)
    if learn ~= '1' then redis.call('HDEL', lane, 'limit', 'cut', 'grown') end
  end
  if learn ~= '1' then return most end
  if not limit then
    limit = most > 0 and most or FIRST_LIMIT
    redis.call('HSET', lane, 'limit', whole(limit))
  end
  return slots_limit(most, limit)
end

-- Cut the learned limit to a share of what is in use, after too many at once (multiplicative decrease).
local function cut_limit(name, now, reason)
  local lane = KEY.lane .. name
  local limit, slots = unpack(redis.call('HMGET', lane, 'limit', 'slots'))
  if not limit then return end
  limit = math.max(1, CUT * math.min(tonumber(limit), tonumber(slots or 0)))
  redis.call('HSET', lane, 'limit', string.format('%.4f', limit), 'cut', whole(now))
  add_history(name, now, 'limit', limit, reason)
end

-- The same after a task failed because of too many. Such tasks fail in groups, so one cut in a while is enough.
local function cut_limit_by_task(job, code, now)
  if code ~= '1302' and code ~= '1303' then return end
  local name = job.lane or DEFAULT_LANE
  if read_number(KEY.lane .. name, 'cut') + CUT_EVERY <= now then
    cut_limit(name, now, 'a task failed with ' .. code)
  end
end

-- Record that the provider answered a submission without a hold: after the last hold, the lane is open again. If it
-- accepted (`grows`) while the slots are really in use, the learned limit grows: by about one for as many submissions
-- as it is high (additive increase); before the first cut of a lane without a limit of its own, by one each (slow
-- start).
local function record_acceptance(job, now, grows)
  local name = job.lane or DEFAULT_LANE
  local lane = KEY.lane .. name
  local level, hold, limit, slots, most, last, grown_at =
    unpack(redis.call('HMGET', lane, 'level', 'hold', 'limit', 'slots', 'most', 'cut', 'grown'))
  if tonumber(level or 0) > 0 and tonumber(hold or 0) <= now then redis.call('HDEL', lane, 'level', 'why', 'since') end
  if not limit or not grows then return end
  limit, slots, most = tonumber(limit), tonumber(slots or 0), tonumber(most)
  if slots < USED * limit and slots + image_count(job) <= limit then return end
  local more = limit + ((last or most > 0) and 1 / limit or 1)
  if most > 0 then more = math.min(most, more) end
  if more <= limit then return end
  redis.call('HSET', lane, 'limit', string.format('%.4f', more))
  if math.floor(more) > math.floor(limit) and tonumber(grown_at or 0) + GROWTH_EVERY <= now then
    redis.call('HSET', lane, 'grown', whole(now))
    add_history(name, now, 'limit', more, 'no refusal while its slots are in use')
  end
end
