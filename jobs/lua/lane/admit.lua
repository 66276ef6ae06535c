-- Admit jobs: take them out of their queues for one lane, as far as its slots, rate, hold, circuit breaker and budget
-- allow. The caller sends them to workers. An admitted job stays `queued` and counts as dispatched until a
-- worker claims it. If its message gets lost, its alarm puts it back.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lane
--       2 pool
--       3 most jobs
--       4 most images that are admitted and not yet claimed
--       5 slots; 0 for no limit
--       6 submissions a second; 0 for no limit
--       7 burst in µs
--       8 µs until an admitted job that no worker claimed is put back
--       9 names of all lanes of the pool, with spaces between
--      10 rules as JSON (jobs.store.spending.rules): {"weights": {key: weight; 1 where not named}, "caps": {key:
--         nano-dollars a day}, "cap": nano-dollars a day of this lane, where it has a budget}
--      11 '1' where the lane learns its limit
-- Returns: {1 where more jobs could be admitted at once, ids...}
--
-- Classes go strictly one after another. Within a class, queues share by start-time fair queueing (Goyal, Vin, Cheng,
-- SIGCOMM 1996): the next job is that of the queue with the least start tag, which is the finish tag of its job before.
-- A job's length is its images divided by its queue's share: the weight of its producer's key, split among that key's
-- queues by their weights. Each queue keeps to the order of acceptance.
--
-- A job that would break a cap (shared/money.lua) stops its own queue only: its batch is paused, or the queue is set
-- aside. A lane that cannot pay for the job passes the queue by, because another lane may be able to.
arity(11)
expect_installation()
local name, pool, limit, most_dispatched = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rate, burst, putback = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local rules = cjson.decode(ARGV[10])
local weights = rules.weights
local now = clock()
local lane = KEY.lane .. name
-- Queues at a cap, in one call: how many are checked again or passed by, and how many are stopped.
local MOST_CHECKED, MOST_STOPPED = 200, 2000
redis.call('DEL', KEY.admit_hint)
if redis.call('HGET', KEY.pools, pool) ~= ARGV[9] then redis.call('HSET', KEY.pools, pool, ARGV[9]) end
local answer = {0}
local slots_max = capacity(name, tonumber(ARGV[5]), ARGV[11])
if is_closed(name, now) then return answer end
for _, queue in ipairs(redis.call('ZRANGEBYSCORE', KEY.capped, '-inf', whole(now), 'LIMIT', 0, MOST_CHECKED)) do
  redis.call('ZREM', KEY.capped, queue)
  local _, _, kind, name_of_queue = split_queue(queue)
  update_participation(queue, kind == PAYER.key or not is_halted(name_of_queue))
end
if rules.cap then
  local spent, unknown = spent_today(PAYER.lane .. name, now)
  if unknown > 0 or spent + read_number(KEY.reserved, PAYER.lane .. name) >= rules.cap then return answer end
end

local slots, dispatched = read_number(lane, 'slots'), read_number(lane, 'window')
local budget = most_dispatched - dispatched
if slots_max > 0 then budget = math.min(budget, slots_max - slots - dispatched) end
local scouting = read_number(lane, 'level') > 0
if scouting then
  -- The provider's last answer refused the whole lane: one job, the scout, goes ahead to find out whether that is over.
  local scout = read(redis.call('HGET', lane, 'scout') or '')
  if scout and (scout.admitted_by or scout.state == 'submitting') then return answer end
  limit = 1
end

-- GCRA, the generic cell rate algorithm: `tat` is the theoretical arrival time of the next submission.
local step = rate > 0 and 1000000 / rate or 0
local tat = math.max(read_number(lane, 'tat'), now)
local taken = 0

-- Remove a job from its queue: it is admitted, or its record is missing or damaged and would stop the queue for ever.
local function leave(queue, id)
  if redis.call('ZREM', KEY.ready .. queue, id) == 1 then
    redis.call('HINCRBY', KEY.pool .. string.match(queue, '^[^|]*'), 'ready', -1)
  end
end

local function admit_job(queue, id)
  local job, problem = read(id)
  local n = 0
  if problem == 'newer' then
    return nil, 'full' -- it keeps its place for a later version's worker
  elseif problem then
    note_damaged(id, now) -- its alarm queues it again once its record is repaired
  elseif job and has_expired(job, now) then
    expire_unpaid(job, now) -- this removes it from the queue
    return 0
  elseif job then
    local stopped, till = stopped_by_cap(job, name, rules.caps, rules.cap, now)
    if stopped then return nil, stopped, till end
    n = image_count(job)
    -- A job of more images than there are slots would wait for ever. It goes when it has the lane to itself.
    local alone = slots_max > 0 and n > slots_max and slots + dispatched + taken == 0
    if n > budget - taken and not alone then return nil, 'full' end
    if step > 0 and tat - now > burst then return nil, 'full' end
    local change = RECORD{admitted_by = name}
    reserve(job, name, change)
    save(job, change)
    alarm(job, now + putback)
    tat = tat + step
    taken = taken + n
    answer[#answer + 1] = id
    if scouting then redis.call('HSET', lane, 'scout', id) end
  end
  leave(queue, id)
  return n
end

-- Admit a job if it may go. Returns its images; 0: it has left the queue for another reason; nil and why: it stays, and
-- so do the jobs behind it. Why: the lane is 'full', or what stopped_by_cap returns.
local function try_to_admit(queue, id)
  local ok, n, stopped, till = pcall(admit_job, queue, id)
  if ok then return n, stopped, till end
  -- Data that all jobs of the lane share are damaged (stop), or data of this job (the others go on).
  if type(n) == 'string' and string.find(n, 'DAMAGED [', 1, true) then error(n, 0) end
  note_damaged(id, now)
  leave(queue, id)
  return 0
end

local stops = 0
local function pause_at_cap(batch, why)
  local was = is_halted(batch)
  redis.call('HSET', KEY.batch .. batch, 'paused', why)
  apply_halt(batch, was)
end

-- Return whether a queue belongs to a batch that cannot be read, so that its cap is not known.
local function is_broken(queue)
  local _, _, kind, name_of_queue = split_queue(queue)
  return kind == PAYER.batch and batch_of(name_of_queue).broken
end

-- Serve the queues of one place. Returns whether the lane can admit more.
local function serve(from, class)
  local place, state = from .. '|' .. class, KEY.pool .. from
  local too_dear, passed = {}, 0
  -- Return the first queue that this lane can pay for, its tag, and the tag of the next.
  local function first_two()
    local found, row = {}, redis.call('ZRANGE', KEY.queues .. place, 0, passed + 1, 'WITHSCORES')
    for i = 1, #row, 2 do
      if not too_dear[row[i]] then
        found[#found + 1] = row[i]
        found[#found + 1] = tonumber(row[i + 1])
      end
    end
    return found[1], found[2], found[4]
  end
  -- A queue that was passed by does not accumulate turns.
  local function done(more)
    local virtual = next(too_dear) and virtual_time(state, class)
    for queue in pairs(too_dear) do
      local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
      if tag and tonumber(tag) < virtual then
        redis.call('ZADD', KEY.queues .. place, string.format('%.17g', virtual), queue)
      end
    end
    return more
  end
  while #answer - 1 < limit do
    local queue, tag, other = first_two()
    while queue and is_broken(queue) do
      set_aside(queue, now + CAP_RECHECK_IDLE)
      queue, tag, other = first_two()
    end
    if not queue then return done(true) end
    local _, _, kind, name_of_queue = split_queue(queue)
    local owner, weight = owner_of(kind, name_of_queue)
    -- The length of one image of this queue.
    local length = read_number(state, class .. '|' .. owner) / (weight * (weights[owner] or 1))
    local ids = redis.call('ZRANGE', KEY.ready .. queue, 0, limit - #answer)
    local virtual, stopped, till = tag, nil, nil
    for turn, id in ipairs(ids) do
      if other and turn > 1 and tag >= other then break end
      local n
      n, stopped, till = try_to_admit(queue, id)
      if stopped then break end
      if n > 0 then
        virtual = tag
        tag = tag + n * length
      end
    end
    redis.call('HSET', state, 'v' .. class, string.format('%.17g', virtual))
    redis.call('ZADD', KEY.queues .. place, 'XX', string.format('%.17g', tag), queue)
    update_participation(queue, true)
    stops = stops + (stopped and 1 or 0)
    if stopped == 'pause' and stops < MOST_STOPPED then
      pause_at_cap(name_of_queue, till)
    elseif stopped == 'aside' and stops < MOST_STOPPED then
      set_aside(queue, till)
    elseif stopped == 'dear' and passed < MOST_CHECKED then
      too_dear[queue] = true
      passed = passed + 1
    elseif stopped then
      return done(false)
    end
  end
  return done(false)
end

local function serve_all()
  for class = 0, 2 do
    for _, from in ipairs({'@' .. name, pool}) do
      local place = from .. '|' .. class
      -- Most places are empty, and an empty one has no tags left (update_participation).
      if redis.call('EXISTS', KEY.queues .. place) == 1 then
        if not serve(from, tostring(class)) then return end
        redis.call('ZREMRANGEBYSCORE', KEY.tags .. place, '-inf', virtual_time(KEY.pool .. from, class))
      end
    end
  end
end
serve_all()
if taken > 0 then
  redis.call('HINCRBY', lane, 'window', taken)
  if step > 0 then redis.call('HSET', lane, 'tat', whole(tat)) end
  -- The limit of this call ended it, and not the lane.
  if #answer - 1 == limit and limit > 1 and (has_waiting(pool) or has_waiting('@' .. name)) then answer[1] = 1 end
end
return answer
