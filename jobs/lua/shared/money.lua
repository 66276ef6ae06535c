-- Money, in whole nano-dollars: what jobs are expected to cost, what is reserved for them, and what was spent.
--
-- A job reserves its price from its admission until its attempt is over at the provider, or it is put back. So it has
-- `reserved` exactly as long as it has `admitted_by` or holds slots, unless it is known to be free.

-- Return the price class of a job: jobs of one class are expected to cost the same.
local function class_of(job) return job.model .. '|' .. (job.images or '1') .. '|' .. (job.resolution or '') end

local function owner_of_job(job)
  if job.batch then return batch_of(job.batch).owner end
  return job.owner or ''
end

-- Return the price that the last costs of a class tell (nil: none), and, where they are too few to be sure, the least
-- that a job may cost.
--
-- One odd cost must not change the price for all, and a real rise must be followed soon. So the price is the highest
-- cost that is not far above the median. When the newest costs are all higher, it is the lowest of those. Free jobs
-- count only where no other is known, so that rather too much is reserved than too little.
local function estimate(costs)
  local paid, newest = {}, math.huge
  for _, cost in ipairs(costs) do
    if cost > 0 then
      paid[#paid + 1] = cost
      if #paid <= PRICES_SURE then newest = math.min(newest, cost) end
    end
  end
  if #paid == 0 then return #costs >= PRICES_SURE and 0 or nil, #costs < PRICES_SURE and 0 or nil end
  table.sort(paid)
  if #paid < PRICES_SURE then return paid[#paid] <= PRICE_CEILING * paid[1] and paid[#paid] or nil, paid[1] end
  local ceiling = PRICE_CEILING * paid[math.ceil(#paid / 2)]
  local price = paid[1]
  for _, cost in ipairs(paid) do
    if cost <= ceiling then price = cost end
  end
  return math.max(price, newest)
end

-- Read the last costs of a class, newest first: those of all producers and, where it has a name, those of one.
local known_costs = {}
local function costs_of(class, owner)
  local own = class .. '|' .. owner
  if not known_costs[own] then
    local stored = redis.call('HMGET', KEY.prices, unpack(owner ~= '' and {class, own} or {class}))
    for i = 1, 2 do
      local costs = {}
      for cost in string.gmatch(stored[i] or '', '%d+') do
        cost = tonumber(cost)
        if cost <= MOST_PRICE then costs[#costs + 1] = cost end -- the version before believed any
      end
      stored[i] = costs
    end
    known_costs[own] = {all = stored[1], own = stored[2]}
  end
  return known_costs[own]
end

-- Return what a job of a class costs a producer: the price, and the least where it is not sure (estimate). What the
-- producer's own jobs cost counts; until enough is known of those, what all jobs of the class cost.
local function price_of(class, owner)
  local costs = costs_of(class, owner)
  local price, least = estimate(costs.own)
  if not least then return price end
  local of_all, least_of_all = estimate(costs.all)
  if not least_of_all or not price then return of_all, least_of_all end
  return price, least
end

-- Learn the price of a class from a cost. An implausible one is counted as spent, but teaches nothing.
local function learn_price(job, cost, completed)
  local price, class, owner = tonumber(cost), class_of(job), owner_of_job(job)
  if not price or price > MOST_PRICE or not completed and price <= (price_of(class, owner) or 0) then return end
  local change = {}
  local function learn(field, costs)
    local before = table.concat(costs, ' ')
    table.insert(costs, 1, price)
    costs[PRICES_KEPT + 1] = nil
    local texts = {}
    for i, each in ipairs(costs) do texts[i] = whole(each) end
    local after = table.concat(texts, ' ')
    if after ~= before then change[#change + 1], change[#change + 2] = field, after end
  end
  local costs = costs_of(class, owner)
  learn(class, costs.all)
  if owner ~= '' then learn(class .. '|' .. owner, costs.own) end
  if #change > 0 then redis.call('HSET', KEY.prices, unpack(change)) end
end

-- Add the reserved money of a job, `by` times, to the counters of its lane, batch and key. A job of unknown price
-- counts as a job of its class.
local function count_reserved(job, lane, by)
  local function add(field, amount)
    if redis.call('HINCRBY', KEY.reserved, field, amount) == 0 then redis.call('HDEL', KEY.reserved, field) end
  end
  if job.reserved == PAYER.unpriced then return add(PAYER.unpriced .. class_of(job), by) end
  local amount, owner = whole(by * tonumber(job.reserved)), owner_of_job(job)
  add(PAYER.lane .. lane, amount)
  if job.batch then add(PAYER.batch .. job.batch, amount) end
  if owner ~= '' then add(PAYER.key .. owner, amount) end
end

-- Reserve the price of a job for a lane, or release it; what is to be saved goes into `change`.
local function reserve(job, lane, change)
  local price = price_of(class_of(job), owner_of_job(job))
  if job.reserved or price == 0 then return end
  job.reserved = price and whole(price) or PAYER.unpriced
  change.reserved = job.reserved
  count_reserved(job, lane, 1)
end

local function release_reservation(job, change)
  if not job.reserved then return end
  count_reserved(job, job.admitted_by or job.lane or DEFAULT_LANE, -1)
  change.reserved = false
end

local function day_of(now) return whole(math.floor(now / DAY)) end

-- Return when a queue at a cap is checked again. No event tells that money was released or a cap raised. So it is
-- checked soon while money is reserved, which may turn out cheaper; else rarely, and when the day is over.
local function next_cap_check(now, reserved)
  if reserved > 0 then return now + CAP_RECHECK end
  return math.min(now + CAP_RECHECK_IDLE, (math.floor(now / DAY) + 1) * DAY)
end

local today = {}
-- Return what a lane ('l<lane>') or a producer's key ('k<key>') has spent today. Only for verbs that spend nothing: it
-- is read once.
local function spent_today(who, now)
  today[who] = today[who] or read_number(KEY.spent .. day_of(now), who)
  return today[who]
end

-- Return why a cap stops a producer's jobs of a price class, what is reserved, and their price where it is known; nil:
-- one may begin. Jobs of unknown price go one at a time. A price that is not sure and far above the whole cap is
-- not believed: if nothing is spent or reserved, one job is admitted to find out. `payer`: of the cap.
-- Why: one_at_a_time | too_dear (one costs more than the cap) | reserved (jobs under way may cost the rest) | used_up.
local function stopped_at_cap(class, owner, cap, spent, payer)
  local price, least = price_of(class, owner)
  local reserved = read_number(KEY.reserved, payer)
  if price and spent + reserved + price <= cap then return nil end
  if not price and spent + reserved < cap and spent + reserved + least <= cap then
    if read_number(KEY.reserved, PAYER.unpriced .. class) == 0 then return nil end
    return 'one_at_a_time', 1
  end
  if price and least and spent + reserved == 0 and price > PRICE_CEILING * cap then return nil end
  if price and price > cap then return 'too_dear', reserved, price end
  return reserved == 0 and 'used_up' or 'reserved', reserved, price
end

-- Return whether a cap stops a job, and how: 'pause' (its batch); 'aside' (its queue waits) and until when; 'dear' (the
-- lane cannot pay for it); nil: it may begin.
local function stopped_by_cap(job, lane, caps, lane_cap, now)
  local class, batch, owner = class_of(job), job.batch and batch_of(job.batch), owner_of_job(job)
  if batch and batch.cap then
    local why, reserved = stopped_at_cap(class, owner, batch.cap, batch.spent, PAYER.batch .. job.batch)
    if why and reserved == 0 then return 'pause' end
    if why then return 'aside', next_cap_check(now, reserved) end
  end
  if caps[owner] then
    local payer = PAYER.key .. owner
    local why, reserved = stopped_at_cap(class, owner, caps[owner], spent_today(payer, now), payer)
    if why then return 'aside', next_cap_check(now, reserved) end
  end
  local payer = PAYER.lane .. lane
  if lane_cap and stopped_at_cap(class, owner, lane_cap, spent_today(payer, now), payer) then return 'dear' end
end

-- Count what an attempt has cost, on the day on which the cost is reported. `cost`: '' where none is.
local function record_cost(job, cost, completed, now)
  learn_price(job, cost, completed)
  local paid = cost ~= '' and cost ~= '0'
  if not paid and not completed then return end
  local lane, owner, key = job.lane or DEFAULT_LANE, owner_of_job(job), KEY.spent .. day_of(now)
  -- Only the last part may contain any character.
  local entry = table.concat({lane, job.model, job.batch or '', owner}, '|')
  if redis.call('HINCRBY', key, ENTRY.results .. entry, 1) == 1 then
    redis.call('ZADD', KEY.days, day_of(now), day_of(now))
  end
  if not paid then return end
  redis.call('HINCRBY', key, ENTRY.cost .. entry, cost)
  redis.call('HINCRBY', key, PAYER.lane .. lane, cost)
  if owner ~= '' then redis.call('HINCRBY', key, PAYER.key .. owner, cost) end
  redis.call('HINCRBY', KEY.totals, 'spent', cost)
  redis.call('HINCRBY', KEY.lane .. lane, 'spent', cost)
  if job.batch then redis.call('HINCRBY', KEY.batch .. job.batch, 'spent', cost) end
end

-- Count the unfinished jobs of a batch by price class, so that what it will cost is known without reading the jobs.
local function count_unfinished(batch, class, by)
  if redis.call('HINCRBY', KEY.batch .. batch, BATCH.unfinished .. class, by) == 0 then
    redis.call('HDEL', KEY.batch .. batch, BATCH.unfinished .. class)
  end
end
