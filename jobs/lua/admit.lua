-- Take waiting jobs out of their queues for one lane, as its slots, rate, holds and circuit breaker allow, for messages to workers. An
-- admitted job stays `queued`; it counts against the lane's window until a worker claims it. If its message is lost, its
-- alarm puts it back.
-- ARGV: lane, pool, most jobs to take, most images admitted and not yet claimed, slots (0 = no limit), submissions a
--       second (0 = no limit), burst in µs, µs until an admitted job that nobody claimed is put back, weights of
--       producers' keys as JSON (1 where not named), names of all lanes of the pool with spaces between, '1' where
--       the lane learns its limit
-- Returns: {whether more could be admitted at once (0|1), ids...}
--
-- Classes go strictly one after another. Within one, queues share by start-time fair queueing (Goyal, Vin, Cheng,
-- SIGCOMM 1996): the next job is that of the queue with the least start tag, which is the finish tag of its job before;
-- a job's length is its images over its queue's share: the weight of its producer's key, split among that key's queues
-- by theirs. Each queue keeps to the order of acceptance.
arity(11)
local name, pool, limit, window_max = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local rate, burst, putback = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local weights = cjson.decode(ARGV[9])
local now = clock()
local lane = KEY.lane .. name
redis.call('DEL', KEY.wake)
if redis.call('HGET', KEY.pools, pool) ~= ARGV[10] then redis.call('HSET', KEY.pools, pool, ARGV[10]) end
local answer = {0}
local slots_max = capacity(name, tonumber(ARGV[5]), ARGV[11])
if shut(name, now) then return answer end

local slots, window = number(lane, 'slots'), number(lane, 'window')
local budget = window_max - window
if slots_max > 0 then budget = math.min(budget, slots_max - slots - window) end
local scouting = number(lane, 'level') > 0
if scouting then
  -- The last answer was a refusal of the whole lane: one job goes ahead and finds out whether that is over.
  local scout = load(redis.call('HGET', lane, 'scout') or '')
  if scout and (scout.w or scout.s == 'submitting') then return answer end
  limit = 1
end

-- GCRA: `tat` is the theoretical arrival time of the next submission.
local step = rate > 0 and 1000000 / rate or 0
local tat = math.max(number(lane, 'tat'), now)
local taken = 0

-- Take one job if it may go. Returns its images; 0: it is gone from the queue otherwise; nil: neither it nor any behind.
local function take(queue, id)
  local job = load(id)
  local n = 0
  if job and too_late(job, now) then
    expire_unpaid(job, now) -- which takes it out of the queue
    return 0
  elseif job then
    n = images(job)
    -- A job of more images than there are slots would wait for ever; it goes when it has the lane to itself.
    local alone = slots_max > 0 and n > slots_max and slots + window + taken == 0
    if n > budget - taken and not alone then return nil end
    if step > 0 and tat - now > burst then return nil end
    tat = tat + step
    taken = taken + n
    save(job, {w = name})
    alarm(job, now + putback)
    answer[#answer + 1] = id
    if scouting then redis.call('HSET', lane, 'scout', id) end
  end
  redis.call('ZREM', KEY.ready .. queue, id) -- without a record, too: it would stop the queue for ever
  redis.call('HINCRBY', KEY.pool .. string.match(queue, '^[^|]*'), 'ready', -1)
  return n
end

-- Serve the queues of one place. Returns whether the lane has room for more.
local function serve(from, class)
  local place, state = from .. '|' .. class, KEY.pool .. from
  while #answer - 1 < limit do
    local first = redis.call('ZRANGE', KEY.queues .. place, 0, 1, 'WITHSCORES')
    if #first == 0 then return true end
    local queue, tag, other = first[1], tonumber(first[2]), tonumber(first[4])
    local _, _, kind, of = parts(queue)
    local owner, weight = owner_of(kind, of)
    -- What one image of this queue is long.
    local length = number(state, class .. '|' .. owner) / (weight * (weights[owner] or 1))
    local ids = redis.call('ZRANGE', KEY.ready .. queue, 0, limit - #answer)
    local virtual, going = tag, true
    for turn, id in ipairs(ids) do
      if other and turn > 1 and tag >= other then break end
      local n = take(queue, id)
      going = n ~= nil
      if not going then break end
      if n > 0 then
        virtual = tag
        tag = tag + n * length
      end
    end
    redis.call('HSET', state, 'v' .. class, string.format('%.17g', virtual))
    redis.call('ZADD', KEY.queues .. place, 'XX', string.format('%.17g', tag), queue)
    take_part(queue, true)
    if not going then return false end
  end
  return false
end

local function served()
  for class = 0, 2 do
    for _, from in ipairs({'@' .. name, pool}) do
      if not serve(from, tostring(class)) then return end
      redis.call('ZREMRANGEBYSCORE', KEY.tags .. from .. '|' .. class, '-inf', number(KEY.pool .. from, 'v' .. class))
    end
  end
end
served()
if taken > 0 then
  redis.call('HINCRBY', lane, 'window', taken)
  if step > 0 then redis.call('HSET', lane, 'tat', whole(tat)) end
  -- The limit of this call was what ended it.
  if #answer - 1 == limit and limit > 1 and (waits(pool) or waits('@' .. name)) then answer[1] = 1 end
end
return answer
