-- Prices, in whole nano-dollars: what a job is expected to cost, learned from what such jobs cost. The constants are in
-- jobs/store/prices.py.

-- Return the price class of a job: jobs of one class are expected to cost the same.
local function class_of(job) return job.model .. '|' .. (job.images or '1') .. '|' .. (job.resolution or '') end

-- Count what owners hold: unfinished jobs, or stored bytes. Only limits depend on it, so damage stops nothing.
local function count_held(key, owner, by)
  if redis.pcall('HINCRBY', key, owner, by) == 0 then redis.call('HDEL', key, owner) end
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

-- Read the last costs of a class as they are stored, newest first: those of all producers, and those of one that has a
-- name.
local stored_costs = {}
local function costs_of(class, owner)
  local own = class .. '|' .. owner
  if not stored_costs[own] then
    stored_costs[own] = redis.call('HMGET', KEY.prices, unpack(owner ~= '' and {class, own} or {class}))
  end
  return stored_costs[own][1] or '', stored_costs[own][2] or ''
end

local function parse_costs(text)
  local costs = {}
  for cost in string.gmatch(text, '%d+') do
    cost = tonumber(cost)
    if cost <= MOST_PRICE then costs[#costs + 1] = cost end -- the version before believed any
  end
  return costs
end

-- Return what a job of a class costs a producer: the price, and the least where it is not sure (estimate). What the
-- producer's own jobs cost counts; until enough is known of those, what all jobs of the class cost.
local known_prices = {}
local function price_of(class, owner)
  local key = class .. '|' .. owner
  if not known_prices[key] then
    local all, own = costs_of(class, owner)
    local costs, price, least = own, estimate(parse_costs(own))
    if least then
      local of_all, least_of_all = estimate(parse_costs(all))
      if not least_of_all or not price then costs, price, least = all, of_all, least_of_all end
    end
    known_prices[key] = {price = price, least = least, costs = costs}
  end
  return known_prices[key].price, known_prices[key].least
end

-- Learn the price of a class from a cost. An implausible one is counted as spent, but teaches nothing.
local function learn_price(job, cost, completed)
  local price, class, owner = tonumber(cost), class_of(job), owner_of_job(job)
  if not price or price > MOST_PRICE or not completed and price <= (price_of(class, owner) or 0) then return end
  local change = {}
  local function learn(field, before)
    local after = before == '' and cost or cost .. ' ' .. before
    local _, more = string.gsub(after, ' ', ' ')
    if more >= PRICES_KEPT then
      after = string.match(after, '^' .. string.rep('%d+ ', PRICES_KEPT - 1) .. '%d+') or cost
    end
    if after ~= before then change[#change + 1], change[#change + 2] = field, after end
  end
  local all, own = costs_of(class, owner)
  learn(class, all)
  if owner ~= '' then learn(class .. '|' .. owner, own) end
  if #change > 0 then redis.call('HSET', KEY.prices, unpack(change)) end
end
