-- Waiting: the queues, which of them take part in admission, and the hints that somebody should look.

-- Waiting jobs stand in one queue a batch (those without a batch in one a producer's key), pool of lanes and class; the
-- queues that may be admitted from stand in `queues`, one a place (pool and class), at their start tag (admit.lua). A
-- batch is halted, or goes on, by its queues leaving or joining `queues`, in one step however many wait in them; with
-- one queue for all, a million paused jobs would have to be carried aside and back, or stepped over at each admission.
local function place_of(job) return (job.pool or '') .. '|' .. (job.priority or '1') end
local function queue_of(job)
  return place_of(job) .. '|' .. (job.batch and 'b' .. job.batch or 'k' .. (job.owner or ''))
end
-- Neither a pool nor a class has a '|' in its name.
local function split_queue(queue)
  local pool, class, kind, name = string.match(queue, '^([^|]*)|([^|]*)|(.)(.*)$')
  return pool, class, kind, name
end

local halts = {}
local function is_halted(batch)
  if halts[batch] == nil then
    if batch_of(batch).broken then
      halts[batch] = true
    else
      local paused, sweep = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'do'))
      halts[batch] = (paused or sweep == 'cancel') and true or false
    end
  end
  return halts[batch]
end

-- Whether a queue takes part follows from whether it has jobs, is not halted and not set aside at a cap. One that comes
-- (back) starts at the virtual time of its place, but not before the end of what it had last: leaving and coming back
-- gains it nothing.
local function update_participation(queue, may)
  local pool, class, kind, name = split_queue(queue)
  local place = pool .. '|' .. class
  local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
  local has = may and redis.call('EXISTS', KEY.ready .. queue) == 1
  if (tag and true or false) == has then return end
  if has and redis.call('ZSCORE', KEY.capped, queue) then return end
  local owner, weight = owner_of(kind, name)
  if has then
    local last = tonumber(redis.call('ZSCORE', KEY.tags .. place, queue) or 0)
    redis.call('ZADD', KEY.queues .. place, math.max(virtual_time(KEY.pool .. pool, class), last), queue)
    redis.call('ZREM', KEY.tags .. place, queue)
    redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, weight)
  else
    redis.call('ZREM', KEY.queues .. place, queue)
    redis.call('ZADD', KEY.tags .. place, tag, queue)
    if redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, -weight) == 0 then
      redis.call('HDEL', KEY.pool .. pool, class .. '|' .. owner)
    end
    if redis.call('EXISTS', KEY.queues .. place) == 0 then
      -- Nobody is left to be compared with: all begin anew at the last finish tag.
      redis.call('HSET', KEY.pool .. pool, 'v' .. class, redis.call('ZREVRANGE', KEY.tags .. place, 0, 0, 'WITHSCORES')[2])
      redis.call('DEL', KEY.tags .. place)
    end
  end
end

-- A queue has so many jobs more.
local function count_waiting(queue, by)
  if by == 0 then return end
  local pool, _, kind, name = split_queue(queue)
  if kind == 'b' and is_halted(name) then return end
  redis.call('HINCRBY', KEY.pool .. pool, 'ready', by)
  update_participation(queue, true)
end

-- A queue that waits for money, until it is looked at again.
local function set_aside(queue, till)
  redis.call('ZADD', KEY.capped, whole(till), queue)
  update_participation(queue, false)
end

-- After a change to what halts a batch: `was` is what `halted` said before. Its hash has the places of its queues. Those
-- that were set aside are looked at again at once.
local function apply_halt(batch, was)
  halts[batch] = nil
  if redis.call('HGET', KEY.batch .. batch, 'paused') == 'max_cost' then
    redis.call('ZADD', KEY.at_cap, 'NX', whole(clock()), batch)
  else
    redis.call('ZREM', KEY.at_cap, batch)
  end
  local now = is_halted(batch)
  for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do
    local place = string.match(field, '^at:(.*)$')
    if place then
      local queue, pool = place .. '|b' .. batch, string.match(place, '^[^|]*')
      local aside = redis.call('ZREM', KEY.capped, queue) == 1
      if now ~= was then
        local waiting = redis.call('ZCARD', KEY.ready .. queue)
        if waiting > 0 then redis.call('HINCRBY', KEY.pool .. pool, 'ready', now and -waiting or waiting) end
      end
      if aside or now ~= was then update_participation(queue, not now) end
    end
  end
end

-- A batch's hash notes where its jobs wait.
local function note_place(batch, place) redis.call('HSETNX', KEY.batch .. batch, 'at:' .. place, 1) end

local function join_queue(job)
  if job.paused then
    -- Paused by its producer: it waits outside, and is due now.
    if job.paused ~= '1' then save(job, RECORD{paused = '1'}) end
    return
  end
  if job.batch then note_place(job.batch, place_of(job)) end
  local queue = queue_of(job)
  count_waiting(queue, redis.call('ZADD', KEY.ready .. queue, job.created_at, job.id))
end

local function leave_queue(job)
  local queue = queue_of(job)
  count_waiting(queue, -redis.call('ZREM', KEY.ready .. queue, job.id))
end

local function leave_dispatched(job, change)
  if job.admitted_by then
    redis.call('HINCRBY', KEY.lane .. job.admitted_by, 'window', -image_count(job))
    change.admitted_by = false
  end
end

-- An admitted job that nobody has claimed waits again.
local function put_back(job)
  local change = {}
  release_reservation(job, change)
  leave_dispatched(job, change)
  save(job, change)
  join_queue(job)
end

-- Whether jobs of a pool wait for admission.
local function has_waiting(pool)
  local queues = KEY.queues .. pool
  return redis.call('EXISTS', queues .. '|0', queues .. '|1', queues .. '|2') > 0
end

-- Whether nothing may be sent through a lane: it is on hold, or its circuit breaker is open.
local function is_closed(name, now)
  local hold, open = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'open'))
  if hold and not tonumber(hold) then damaged(KEY.lane .. name, 'its field hold is no number') end
  return open or tonumber(hold or 0) > now
end

-- Whether any lane of a pool could admit now. None need be told while jobs that it admitted are on their way: who
-- submits those looks for more.
local function any_lane_open(lanes, now)
  if lanes == '' then return true end -- no worker has told yet
  for name in string.gmatch(lanes, '%S+') do
    if not is_closed(name, now) and read_number(KEY.lane .. name, 'window') <= 0 then return true end
  end
  return false
end

-- Whether to send a hint that jobs wait for admission; at most one is under way at a time.
local function admit_hint(now)
  local pools = redis.call('HGETALL', KEY.pools)
  for i = 1, #pools, 2 do
    if has_waiting(pools[i]) and any_lane_open(pools[i + 1], now) then
      return redis.call('SET', KEY.admit_hint, '1', 'NX', 'PX', HINT_MS) and 1 or 0
    end
  end
  return 0
end

-- The same for reconcile.
local function reconcile_hint()
  if redis.call('SET', KEY.reconcile_hint, '1', 'NX', 'PX', HINT_MS) then return 1 end
  return 0
end

