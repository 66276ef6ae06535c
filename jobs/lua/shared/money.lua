-- Money, in whole nano-dollars: what is reserved for jobs, and what was spent.
--
-- A job reserves its price from its admission until its attempt is over at the provider, or it is put back. So it has
-- `reserved` exactly as long as it has `admitted_by` or holds slots, unless it is known to be free.

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

-- Convert an amount of USD as decimal text into nano-dollars, rounded half to even (jobs/units.py). Lua's own numbers would
-- round it twice.
local function nano_of(text)
  local whole_digits, fraction, exponent = string.match(text, '^(%d*)%.?(%d*)[eE]?([+-]?%d*)$')
  if not whole_digits then return 0 end
  local digits, point = whole_digits .. fraction, #whole_digits + (tonumber(exponent) or 0) + 9
  if point < 0 then return 0 end
  digits = digits .. string.rep('0', point - #digits)
  local kept, rest = tonumber(string.sub(digits, 1, point)) or 0, string.sub(digits, point + 1)
  local half = '5' .. string.rep('0', #rest - 1)
  if rest ~= '' and (rest > half or rest == half and kept % 2 == 1) then kept = kept + 1 end
  return kept
end

-- Add what an attempt has cost to what earlier ones did, because another result takes the place of its own.
local function count_earlier_cost(job, cost, change)
  if cost > 0 then change.earlier_cost = tonumber(job.earlier_cost or 0) + cost end
end

local function day_of(now) return whole(math.floor(now / DAY)) end

-- Return when a queue at a cap is checked again. No event tells that money was released or a cap raised. So it is
-- checked soon while money is reserved, which may turn out cheaper; else rarely, and when the day is over.
local function next_cap_check(now, reserved)
  if reserved > 0 then return now + CAP_RECHECK end
  return math.min(now + CAP_RECHECK_IDLE, (math.floor(now / DAY) + 1) * DAY)
end

local today = {}
-- Return what a lane ('l<lane>') or a producer's key ('k<key>') has spent today, and how many of its results have an
-- unknown cost. Only for verbs that spend nothing: it is read once.
local function spent_today(who, now)
  today[who] = today[who] or {read_numbers(KEY.spent .. day_of(now), who, ENTRY.unknown_of .. who)}
  return unpack(today[who])
end

-- Return why a cap stops a producer's jobs of a price class, what is reserved, and their price where it is known; nil:
-- one may begin. Jobs of unknown price go one at a time. A price that is not sure and far above the whole cap is
-- not believed: if nothing is spent or reserved, one job is admitted to find out. `payer`: of the cap.
-- Why: unknown_cost (of some results, so that what is spent is not known) | one_at_a_time | too_dear (one costs more
-- than the cap) | reserved (jobs under way may cost the rest) | used_up.
local function stopped_at_cap(class, owner, cap, payer, spent, unknown)
  if unknown > 0 then return 'unknown_cost', 0 end
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

-- Return whether a cap stops a job, and how: 'pause' (its batch) and why: 'max_cost' or 'unknown_cost'; 'aside' (its
-- queue waits) and until when; 'dear' (the lane cannot pay for it); nil: it may begin.
local function stopped_by_cap(job, lane, caps, lane_cap, now)
  local class, batch, owner = class_of(job), job.batch and batch_of(job.batch), owner_of_job(job)
  if batch and batch.cap then
    local payer = PAYER.batch .. job.batch
    local why, reserved = stopped_at_cap(class, owner, batch.cap, payer, batch.spent, batch.unknown)
    if why and reserved == 0 then return 'pause', why == 'unknown_cost' and why or 'max_cost' end
    if why then return 'aside', next_cap_check(now, reserved) end
  end
  if caps[owner] then
    local payer = PAYER.key .. owner
    local why, reserved = stopped_at_cap(class, owner, caps[owner], payer, spent_today(payer, now))
    if why then return 'aside', next_cap_check(now, reserved) end
  end
  local payer = PAYER.lane .. lane
  if lane_cap and stopped_at_cap(class, owner, lane_cap, payer, spent_today(payer, now)) then return 'dear' end
end

-- Return the name of the entry of a day's ledger. Only its last part may contain any character.
local function entry_of(job, lane) return table.concat({lane, job.model, job.batch or '', owner_of_job(job)}, '|') end

-- Count what a job has cost, in the ledger of a day and in all sums.
local function count_cost(job, lane, cost, day)
  local key, owner = KEY.spent .. day, owner_of_job(job)
  redis.call('HINCRBY', key, ENTRY.cost .. entry_of(job, lane), cost)
  redis.call('HINCRBY', key, PAYER.lane .. lane, cost)
  if owner ~= '' then redis.call('HINCRBY', key, PAYER.key .. owner, cost) end
  redis.call('HINCRBY', KEY.totals, 'spent', cost)
  redis.call('HINCRBY', KEY.lane .. lane, 'spent', cost)
  if job.batch then redis.call('HINCRBY', KEY.batch .. job.batch, 'spent', cost) end
end

-- Count a result (`results`: 1, or 0 where it is counted already) and its cost by label, in a ledger of the day of its
-- own: `<entry><name>=<value>|<owner>`. A job's labels go before those of its batch. Once the ledger is full, new values of
-- a label count together, as `<name>=` without a value.
local function count_by_label(job, results, cost, day)
  local labels, of_batch = {}, job.batch and batch_of(job.batch).labels
  for _, text in ipairs({of_batch or '', redis.call('GET', KEY.labels .. job.id) or ''}) do
    local readable, found = pcall(cjson.decode, text)
    for name, value in pairs(readable and type(found) == 'table' and found or {}) do labels[name] = value end
  end
  local key, owner = KEY.spent_labels .. day, owner_of_job(job)
  local function add(entry, name, value, amount)
    local field = entry .. name .. '=' .. value .. '|' .. owner
    if redis.call('HLEN', key) >= MOST_LABELS and redis.call('HEXISTS', key, field) == 0 then
      field = entry .. name .. '=|' .. owner
    end
    redis.call('HINCRBY', key, field, amount)
  end
  for name, value in pairs(labels) do
    if results > 0 then add(ENTRY.results, name, value, results) end
    if cost ~= '' and cost ~= '0' then add(ENTRY.cost, name, value, cost) end
  end
end

-- Count a result and what it has cost, on the day on which that is reported. `cost`: '' where none is. Failures without
-- a cost do not count, unless it is `unknown`. `counted`: what is counted already for the result that this one replaces;
-- nil: it replaces none that counted.
local function record_cost(job, cost, completed, unknown, now, counted)
  learn_price(job, cost, completed)
  local paid = cost ~= '' and cost ~= '0'
  if not paid and not completed and not unknown then return end
  local lane, day = job.lane or DEFAULT_LANE, day_of(now)
  if counted then
    cost = cost ~= '' and whole(tonumber(cost) - counted) or cost
    paid = cost ~= '' and cost ~= '0'
    if paid or unknown then redis.call('ZADD', KEY.days, day, day) end
  elseif redis.call('HINCRBY', KEY.spent .. day, ENTRY.results .. entry_of(job, lane), 1) == 1 then
    redis.call('ZADD', KEY.days, day, day)
  end
  if paid then count_cost(job, lane, cost, day) end
  guarded(job.id, now, function() count_by_label(job, counted and 0 or 1, cost, day) end)
end

-- Count the unfinished jobs of a batch by price class, so that what it will cost is known without reading the jobs.
-- Returns whether none is left of the class.
local function count_unfinished(batch, class, by)
  local left = redis.call('HINCRBY', KEY.batch .. batch, BATCH.unfinished .. class, by)
  if left == 0 then redis.call('HDEL', KEY.batch .. batch, BATCH.unfinished .. class) end
  return left == 0
end
