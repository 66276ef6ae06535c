-- Waiting: the queues, which of them take part in admission, and the hints that wake workers.
--
-- Waiting jobs stand in one queue for each batch (or producer's key, for jobs without a batch), pool of lanes and
-- class. The pilot of a batch, which runs before the batch is approved, has a queue of its own. Admission chooses in two steps, each from a sorted set that has every member at its start tag (admit.lua): the
-- set of a pool has the keys whose jobs wait, and the set of a pool, class and key (`<pool>|<class>|<key>`) has that
-- key's queues. Jobs without a key, such as those from Celery, are those of the key ''. A batch is halted, or resumed,
-- when its queues leave or join their sets: one step, however many jobs wait. With one queue for all, an admission would
-- have to step over a million paused jobs, or each pause would have to move them.

local function place_of(job) return (job.pool or '') .. '|' .. (job.priority or '1') end
-- Return the kind of the queue of a job.
local function kind_of(job) return job.batch and (job.pilot and PAYER.pilot or PAYER.batch) or PAYER.key end
local function queue_of(job) return place_of(job) .. '|' .. kind_of(job) .. (job.batch or job.owner or '') end
-- Return pool, class, kind (PAYER.batch, PAYER.pilot or PAYER.key) and name of a queue. Pools and classes contain no
-- '|'.
local function split_queue(queue)
  local pool, class, kind, name = string.match(queue, '^([^|]*)|([^|]*)|(.)(.*)$')
  return pool, class, kind, name
end

-- Return which queues of a batch are halted, by their kind. All are while it is paused, being cancelled, or unreadable;
-- all but those of its pilot while it waits for an approval.
local halts = {}
local function halts_of(batch)
  if not halts[batch] then
    local all, rest = true, true
    if not batch_of(batch).broken then
      local paused, sweep, hold = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'do', 'hold'))
      all = (paused or sweep == 'cancel') and true or false
      rest = all or (hold and true or false)
    end
    halts[batch] = {[PAYER.pilot] = all, [PAYER.batch] = rest}
  end
  return halts[batch]
end

-- Return whether a queue is halted.
local function is_halted(kind, name) return kind ~= PAYER.key and halts_of(name)[kind] end

-- Add a member to a set, at the end of its last job: leaving and joining gains it nothing. Admission lets nobody begin
-- before the present (the set's virtual time), so a member saves up no turns while it is away.
local function join_set(set, member)
  local last = redis.call('ZSCORE', KEY.tags .. set, member)
  redis.call('ZADD', KEY.queues .. set, last or 0, member)
  if last then redis.call('ZREM', KEY.tags .. set, member) end
end

-- Remove a member from a set. The end of its last job is kept while others are left to compare with. Returns whether
-- the set is empty now.
local function leave_set(set, member, tag)
  redis.call('ZREM', KEY.queues .. set, member)
  if redis.call('EXISTS', KEY.queues .. set) == 1 then
    redis.call('ZADD', KEY.tags .. set, tag, member)
    return false
  end
  redis.call('DEL', KEY.tags .. set)
  return true
end

-- Remove a key from its pool's set if no queue of it takes part.
local function leave_if_idle(pool, owner)
  local function set(class) return KEY.queues .. pool .. '|' .. class .. '|' .. owner end
  if redis.call('EXISTS', set(0), set(1), set(2)) > 0 then return end
  local tag = redis.call('ZSCORE', KEY.queues .. pool, owner)
  if tag then leave_set(pool, owner, tag) end
end

-- Add `by` to the weights of a key's queues that take part in a class.
local function count_weight(pool, class, owner, by)
  local field = class .. '|' .. owner
  if redis.call('HINCRBY', KEY.pool .. pool, field, by) == 0 then redis.call('HDEL', KEY.pool .. pool, field) end
end

-- Make a queue take part in admission exactly where it is `allowed` and has jobs, unless it is set aside at a cap.
local function update_participation(queue, allowed)
  local pool, class, kind, name = split_queue(queue)
  local owner, weight = owner_of(kind, name)
  local set = pool .. '|' .. class .. '|' .. owner
  local tag = redis.call('ZSCORE', KEY.queues .. set, queue)
  local has = allowed and redis.call('EXISTS', KEY.ready .. queue) == 1
  if (tag and true or false) == has then return end
  if has and redis.call('ZSCORE', KEY.capped, queue) then return end
  count_weight(pool, class, owner, has and weight or -weight)
  if has then
    join_set(set, queue)
    if not redis.call('ZSCORE', KEY.queues .. pool, owner) then join_set(pool, owner) end
  elseif leave_set(set, queue, tag) then
    redis.call('HDEL', KEY.pool .. pool, 'v' .. class .. '|' .. owner)
    leave_if_idle(pool, owner)
  else
    local virtual = virtual_time(KEY.pool .. pool, class .. '|' .. owner)
    redis.call('ZREMRANGEBYSCORE', KEY.tags .. set, '-inf', virtual)
  end
end

-- Move queues out of the sets of the version before, which had one for each pool and class. Its workers and webhooks may
-- still add to them during an upgrade. Returns whether some are left.
local function adopt_queues(pool, most)
  local sets = KEY.queues .. pool
  if redis.call('EXISTS', sets .. '|0', sets .. '|1', sets .. '|2') == 0 then return false end
  local left = false
  for class = 0, 2 do
    local place = pool .. '|' .. class
    for _, queue in ipairs(redis.call('ZRANGE', KEY.queues .. place, 0, most - 1)) do
      local _, _, kind, name = split_queue(queue)
      local owner, weight = owner_of(kind, name)
      redis.call('ZREM', KEY.queues .. place, queue)
      count_weight(pool, class, owner, -weight)
      update_participation(queue, not is_halted(kind, name))
    end
    redis.call('DEL', KEY.tags .. place)
    left = left or redis.call('EXISTS', KEY.queues .. place) == 1
  end
  return left
end

-- Count `by` more jobs in a queue.
local function count_waiting(queue, by)
  if by == 0 then return end
  local pool, _, kind, name = split_queue(queue)
  if is_halted(kind, name) then return end
  redis.call('HINCRBY', KEY.pool .. pool, 'ready', by)
  update_participation(queue, true)
end

-- Take a queue that waits for money out of admission, until it is checked again.
local function set_aside(queue, till)
  redis.call('ZADD', KEY.capped, whole(till), queue)
  update_participation(queue, false)
end

-- Return whether a batch that is paused for this reason waits for an approval.
local function waits_for_approval(paused) return paused == 'approval' or paused == 'pilot' end

-- Enter a batch into the list of those that are paused for the same kind of reason, and into no other; false: into none.
local function list_pause(batch, paused)
  local function enter(key, is_in)
    if is_in then redis.call('ZADD', key, 'NX', whole(clock()), batch) else redis.call('ZREM', key, batch) end
  end
  enter(KEY.at_cap, paused == 'max_cost' or paused == 'unknown_cost')
  enter(KEY.awaiting, waits_for_approval(paused))
  enter(KEY.on_request, paused == '1')
end

-- Apply a change to what halts a batch; `was` is what `halts_of` returned before. The batch's hash names the places of
-- its queues. Queues that were set aside are checked again at once.
local function apply_halt(batch, was)
  halts[batch] = nil
  local paused, pilot = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'pilot'))
  list_pause(batch, paused)
  local function apply(place, kind)
    local queue, pool, now = place .. '|' .. kind .. batch, string.match(place, '^[^|]*'), is_halted(kind, batch)
    local was_aside = redis.call('ZREM', KEY.capped, queue) == 1
    if now ~= was[kind] then
      local waiting = redis.call('ZCARD', KEY.ready .. queue)
      if waiting > 0 then redis.call('HINCRBY', KEY.pool .. pool, 'ready', now and -waiting or waiting) end
    end
    if was_aside or now ~= was[kind] then update_participation(queue, not now) end
  end
  for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do
    local place = string.match(field, '^' .. BATCH.place .. '(.*)$')
    if place then
      apply(place, PAYER.batch)
      if pilot then apply(place, PAYER.pilot) end
    end
  end
end

-- Pause a batch, and note why: '1' (on request), 'max_cost', 'unknown_cost', 'approval' (it waits for one), or 'pilot'
-- (the same, and its pilot is over). Nothing else pauses a batch.
local function pause_batch(batch, why)
  local was = halts_of(batch)
  redis.call('HSET', KEY.batch .. batch, 'paused', why)
  apply_halt(batch, was)
  owe_event(batch, 'paused', clock(), why == '1' and 'request' or why)
end

-- Pause a batch that waits for an approval as soon as nothing of it may run: its pilot, if it has one, is over, and other
-- jobs wait.
local function pause_until_approved(batch)
  local hold, paused, sweep, left, queued =
    unpack(redis.call('HMGET', KEY.batch .. batch, 'hold', 'paused', 'do', 'pilot_left', 'queued'))
  if not hold or paused or sweep == 'cancel' or tonumber(left or 0) > 0 or tonumber(queued or 0) <= 0 then return end
  pause_batch(batch, hold)
end

-- End the pause of a batch. Nothing else does, except a cancel. What waits for an approval goes on waiting.
local function resume_batch(batch)
  local was = halts_of(batch)
  redis.call('HDEL', KEY.batch .. batch, 'paused')
  apply_halt(batch, was)
  pause_until_approved(batch)
end

-- Count `by` more unfinished jobs of a batch's pilot. One that is retried runs before the batch is approved, too.
local function count_pilot(batch, by)
  local left = redis.call('HINCRBY', KEY.batch .. batch, 'pilot_left', by)
  if left == 0 then
    pause_until_approved(batch)
  elseif by > 0 and redis.call('HGET', KEY.batch .. batch, 'paused') == 'pilot' then
    resume_batch(batch)
  end
end

-- Let a batch go on that was paused by unknown costs, if none is left that is not waived.
local function resume_at_known_cost(batch)
  local paused, unknown, waived = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'unknown_costs', 'waived'))
  if paused ~= 'unknown_cost' or tonumber(unknown or 0) > tonumber(waived or 0) then return end
  resume_batch(batch)
end

-- Note in a batch's hash where its jobs wait.
local function note_place(batch, place) redis.call('HSETNX', KEY.batch .. batch, BATCH.place .. place, 1) end

local function join_queue(job)
  if job.paused then
    -- It is paused by its producer: it stays out of the queue, and is due now.
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

-- Put an admitted job that no worker has claimed back into its queue.
local function put_back(job)
  local change = {}
  release_reservation(job, change)
  leave_dispatched(job, change)
  save(job, change)
  join_queue(job)
end

-- Return whether jobs of a pool wait for admission.
local function has_waiting(pool)
  local sets = KEY.queues .. pool
  return redis.call('EXISTS', sets, sets .. '|0', sets .. '|1', sets .. '|2') > 0 -- also those of the version before
end

-- Return whether a lane's stored pause is in force. A damaged end of it is none.
local function is_pause(paused, till, now)
  return paused and (not till or (tonumber(till) or math.huge) > now)
end

-- Return whether nothing may be sent through a lane: it is on hold, its circuit breaker is open, or it is paused.
local function is_closed(name, now)
  local hold, open, paused, till = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'open', 'paused', 'paused_until'))
  if hold and not tonumber(hold) then damaged(KEY.lane .. name, 'its field hold is no number') end
  return open or tonumber(hold or 0) > now or is_pause(paused, till, now)
end

-- Return why nothing may be sent through a lane: {paused = why, paused_until}, {open = since when, because} or
-- {hold = until when, why}; nil: it may.
local function closed_state(name, now)
  if not is_closed(name, now) then return nil end
  local hold, why, open, because, paused, paused_why, till = unpack(
    redis.call('HMGET', KEY.lane .. name, 'hold', 'why', 'open', 'because', 'paused', 'paused_why', 'paused_until'))
  if is_pause(paused, till, now) then return {paused = paused_why or '', paused_until = till or nil} end
  return open and {open = open, because = because or nil} or {hold = hold, why = why or nil}
end

-- Return whether a lane of a pool could admit now. A lane whose admitted jobs are still on their way needs no hint: the
-- worker that submits them admits more.
local function any_lane_open(lanes, now)
  if lanes == '' then return true end -- no worker has named them yet
  for name in string.gmatch(lanes, '%S+') do
    if not is_closed(name, now) and read_number(KEY.lane .. name, 'window') <= 0 then return true end
  end
  return false
end

-- Return 1 if the caller is to send an admission hint, else 0. At most one hint is under way at a time.
local function admit_hint(now)
  local pools = redis.call('HGETALL', KEY.pools)
  for i = 1, #pools, 2 do
    if has_waiting(pools[i]) and any_lane_open(pools[i + 1], now) then
      return redis.call('SET', KEY.admit_hint, '1', 'NX', 'PX', HINT_MS) and 1 or 0
    end
  end
  return 0
end

-- Return 1 if the caller is to send a reconcile hint, else 0.
local function reconcile_hint()
  if redis.call('SET', KEY.reconcile_hint, '1', 'NX', 'PX', HINT_MS) then return 1 end
  return 0
end
