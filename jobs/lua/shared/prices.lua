-- Prices, in whole nano-dollars: what a job is expected to cost, learned from what such jobs cost. The constants are in
-- jobs/store/prices.py.

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
