-- Forecasts: what a kind of job will cost, and how fast lanes are. jobs/estimates.py and jobs/eta.py calculate with them.

-- Return what is known of the price of a class for a producer: `price` in nano-dollars (absent where it is not known),
-- and the costs that it comes from, spaced.
local function forecast_of(class, owner)
  local price = price_of(class, owner)
  return {price = price and whole(price), costs = known_prices[class .. '|' .. owner].costs}
end

-- Return what is known of the speed of the lanes of pools (jobs.eta): by lane, the time that a job `took` and the `work`
-- of its images in µs, and its learned limit of slots; by `<class>|<owner>`, the weights of queues that wait; when the
-- last hold or probe wait ends; when the service went on after a stall, as text. All times in µs.
local function pace_of(pools)
  local hold, lanes, flows = 0, {}, {}
  for _, pool in ipairs(pools) do
    for name in string.gmatch(redis.call('HGET', KEY.pools, pool) or '', '%S+') do
      local held, probe, took, work, limit =
        unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'probe', 'took', 'work', 'limit'))
      hold = math.max(hold, tonumber(held or 0), tonumber(probe or 0))
      lanes[name] = {took = tonumber(took or 0), work = tonumber(work or 0), limit = tonumber(limit or nil)}
    end
    local state = redis.call('HGETALL', KEY.pool .. pool)
    for i = 1, #state, 2 do
      if string.find(state[i], '^%d|') then flows[state[i]] = (flows[state[i]] or 0) + tonumber(state[i + 1]) end
    end
  end
  local resumed = redis.pcall('HGET', KEY.totals, 'resumed')
  return {lanes = lanes, flows = flows, hold = whole(hold), resumed = type(resumed) == 'string' and resumed or '0'}
end
