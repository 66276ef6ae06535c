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
--      10 rules as JSON (jobs.store.spending.rules): {"weights": {key: weight; 1 where not named}, "ranks": {key: rank, 0
--        to 2; 1 where not named}, "caps": {key: nano-dollars a day}, "cap": nano-dollars a day of this lane, where it
--        has a budget}
--      11 '1' where the lane learns its limit
-- Returns: {1 where more jobs could be admitted at once, ids...}
--
-- Ranks, which the operator gives to keys, go strictly one after another. The keys of a rank share. A key's classes go
-- strictly one after another, and its queues of a class share. Each queue keeps to the order of acceptance.
--
-- Both shares are start-time fair queueing (Goyal, Vin, Cheng, SIGCOMM 1996): the next job is that of the member with the
-- least start tag, which is the end of its job before, but not before the set's virtual time, the start tag of the job
-- that was served last. A job's length is its images divided by the weight of its key, and of its queue among that key's.
--
-- A job that would break a cap (shared/money.lua) stops its own queue only: its batch is paused, or the queue is set
-- aside. A lane that cannot pay for the job passes the queue by, because another lane may be able to.
--
-- One call does a limited amount of work, because Redis serves nobody else meanwhile. Where a lane passes many queues by,
-- the call looks at the first ones, and then at some from a random place, so that the calls together reach all.
arity(11)
expect_installation()
local name, pool, limit, most_dispatched = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rate, burst, putback = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local rules = cjson.decode(ARGV[10])
local weights, ranks = rules.weights, rules.ranks
local now = clock()
local lane = KEY.lane .. name
-- In one call: queues at a cap that are checked again; queues of the version before that are moved, of a class; steps
-- that admit no job but leave less to do (a queue stopped, a job expired), in all and of a key.
local MOST_CHECKED, MOST_ADOPTED, MOST_STEPS, MOST_STEPS_OF_KEY = 200, 200, 500, 200
-- Members that are passed by, in one call: of each rank, keys and queues together, which are at least four times those of
-- one key; and of each set of queues: in order, and then from a random place.
local MOST_PASSED, IN_ORDER, AT_RANDOM = 200, 5, 10
-- Once half of MOST_PASSED is used up: keys of a rank at a time from a random place, and how often.
local KEYS_AT_RANDOM, MOST_DRAWS = 4, 20
redis.call('DEL', KEY.admit_hint)
if redis.call('HGET', KEY.pools, pool) ~= ARGV[9] then redis.call('HSET', KEY.pools, pool, ARGV[9]) end
local answer = {0}
local slots_max = capacity(name, tonumber(ARGV[5]), ARGV[11])
if is_closed(name, now) then return answer end
for _, queue in ipairs(redis.call('ZRANGEBYSCORE', KEY.capped, '-inf', whole(now), 'LIMIT', 0, MOST_CHECKED)) do
  redis.call('ZREM', KEY.capped, queue)
  local _, _, kind, name_of_queue = split_queue(queue)
  update_participation(queue, not is_halted(kind, name_of_queue))
end
if rules.cap then
  local spent, unknown = spent_today(PAYER.lane .. name, now)
  if unknown > 0 or spent + read_number(KEY.reserved, PAYER.lane .. name) >= rules.cap then return answer end
end

local more_queues = adopt_queues(pool, MOST_ADOPTED)
more_queues = adopt_queues('@' .. name, MOST_ADOPTED) or more_queues
local keys_of = {[NORMAL] = {}}
for owner, rank in pairs(ranks) do
  keys_of[rank] = keys_of[rank] or {}
  table.insert(keys_of[rank], owner)
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
local left = {} -- pool → how many jobs have left
local function leave(queue, id)
  if redis.call('ZREM', KEY.ready .. queue, id) == 1 then
    local from = string.match(queue, '^[^|]*')
    left[from] = (left[from] or 0) + 1
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
    note_event(job, change, EVENT.admitted, now)
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

-- Count a step that admits no job but leaves less to do. Returns whether the call may take another.
local steps = 0
local function step_done()
  steps = steps + 1
  return steps < MOST_STEPS
end

local draws = 0 -- how often keys of the present rank were drawn at random
-- Return the first key of a rank, with what `first_two` returns. `ranked`: by rank, the keys that wait and have another
-- rank than most.
local function first_key(from, rank, ranked)
  if passes < MOST_PASSED / 2 then
    if rank == NORMAL then return first_two(from, ranks, ranked.count, true) end
    return least_two(from, ranked[rank])
  end
  local those, keys = passed_of(from), ranked[rank]
  while passes < MOST_PASSED do
    local owner, tag, other
    if rank == NORMAL then
      owner, tag, other = first_two(from, ranks, ranked.count, false, KEYS_AT_RANDOM)
    else
      owner, tag, other = least_two(from, ranked.drawn or {})
    end
    if owner or draws >= MOST_DRAWS then return owner, tag, other end
    draws = draws + 1
    those.others, ranked.drawn = nil, {}
    local start = math.random(#keys + 1)
    for i = 1, math.min(#keys, KEYS_AT_RANDOM) do ranked.drawn[i] = keys[(start + i) % #keys + 1] end
  end
end

-- Return the first queue of a key, of the highest class that has one to serve, with what `first_two` returns.
local highest = {}
local function first_queue(from, owner)
  local key = from .. '|' .. owner
  for class = highest[key] or 0, 2 do
    highest[key] = class
    local set = from .. '|' .. class .. '|' .. owner
    local queue, tag, other = first_two(set, {}, 0, passed_of(set).count < IN_ORDER, AT_RANDOM)
    if queue then return class, queue, tag, other end
  end
end

-- The first jobs of a queue, which only this call takes out.
local heads = {}
local function head_of(queue)
  heads[queue] = heads[queue] or {ids = redis.call('ZRANGE', KEY.ready .. queue, 0, limit - #answer), taken = 0}
  return heads[queue]
end

-- Take a queue out of a key's set where it has no place: its batch is halted or unreadable, or another key's. Only the
-- version before, or damage, leaves one there. Returns its weight where it has its place.
local function weight_in_place(set, owner, queue)
  local _, _, kind, name_of_queue = split_queue(queue)
  local its, weight = owner_of(kind, name_of_queue)
  local allowed = not is_halted(kind, name_of_queue)
  if allowed and its == owner then return weight end
  if kind ~= PAYER.key and batch_of(name_of_queue).broken then
    redis.call('ZADD', KEY.capped, whole(now + CAP_RECHECK_IDLE), queue)
  end
  if its ~= owner then redis.call('ZREM', KEY.queues .. set, queue) end
  update_participation(queue, allowed)
end

local steps_of = {}
-- React to a cap that stops the first job of a queue. Returns whether this call can go on.
local function stop_queue(from, set, owner, queue, stopped, till)
  if stopped == 'full' then return false end
  if stopped == 'dear' then
    pass(set, queue)
    return true
  end
  if stopped == 'pause' then
    local _, _, _, batch = split_queue(queue)
    pause_batch(batch, till)
  else
    set_aside(queue, till)
  end
  steps_of[owner] = (steps_of[owner] or 0) + 1
  if steps_of[owner] >= MOST_STEPS_OF_KEY then pass(from, owner) end
  return step_done()
end

-- Serve the keys of a pool that have a rank. Returns whether the lane can admit more.
local function serve(from, rank, ranked)
  local state = KEY.pool .. from
  local virtual = virtual_time(state, rank)
  passes, draws, ranked.drawn = 0, 0, nil
  while #answer - 1 < limit do
    local owner, tag, other = first_key(from, rank, ranked)
    if not owner then return true end
    local class, queue, queue_tag, queue_other = first_queue(from, owner)
    local set = queue and from .. '|' .. class .. '|' .. owner
    local weight = queue and weight_in_place(set, owner, queue)
    if weight then
      local of_queues = virtual_time(state, class .. '|' .. owner)
      -- A start tag is not before the present.
      tag, queue_tag = math.max(tag, virtual), math.max(queue_tag, of_queues)
      local head, begun, served, stopped, till = head_of(queue), false, false, nil, nil
      while head.taken < #head.ids and #answer - 1 < limit do
        if begun and (other and tag >= other or queue_other and queue_tag >= queue_other) then break end
        local n
        begun = true
        n, stopped, till = try_to_admit(queue, head.ids[head.taken + 1])
        if stopped then break end
        head.taken = head.taken + 1
        if n == 0 and not step_done() then break end
        if n > 0 then
          served = true
          virtual, of_queues = tag, queue_tag
          tag, queue_tag = tag + n / (weights[owner] or 1), queue_tag + n / weight
        end
      end
      if served then
        redis.call('HSET', state, 'v' .. rank, tag_text(virtual), 'v' .. class .. '|' .. owner, tag_text(of_queues))
        redis.call('ZADD', KEY.queues .. from, 'XX', tag_text(tag), owner)
        redis.call('ZADD', KEY.queues .. set, 'XX', tag_text(queue_tag), queue)
      end
      if head.taken == #head.ids then
        heads[queue] = nil
        update_participation(queue, true)
      end
      if stopped and not stop_queue(from, set, owner, queue, stopped, till) then return false end
    elseif queue then
      step_done()
    else
      pass(from, owner) -- this lane can pay for none of its queues
      leave_if_idle(from, owner)
    end
    if steps >= MOST_STEPS then return false end
  end
  return false
end

local function serve_all()
  local ranked = {}
  for _, from in ipairs({'@' .. name, pool}) do
    if redis.call('EXISTS', KEY.queues .. from) == 1 then
      follow_ranks(from, ranks)
      ranked[from] = ranked_in(from, keys_of)
    end
  end
  for rank = 0, 2 do
    for _, from in ipairs({'@' .. name, pool}) do
      if keys_of[rank] and ranked[from] and not serve(from, rank, ranked[from]) then return end
    end
  end
end
math.randomseed(now % 2147483647)
local served, why = pcall(serve_all)
for from, count in pairs(left) do redis.call('HINCRBY', KEY.pool .. from, 'ready', -count) end
if not served then error(why, 0) end
if taken > 0 then
  redis.call('HINCRBY', lane, 'window', taken)
  if step > 0 then redis.call('HSET', lane, 'tat', whole(tat)) end
  -- The limit of this call ended it, and not the lane.
  if #answer - 1 == limit and limit > 1 and (has_waiting(pool) or has_waiting('@' .. name)) then answer[1] = 1 end
end
if more_queues or steps >= MOST_STEPS then answer[1] = 1 end
return answer
