-- A batch's counters, as of one moment.
-- ARGV: batch
-- Returns: {now in µs, when the last hold of its lanes ends (or their next probe) or 0, nano-dollars that its unfinished jobs will
--   cost or '' where a price is not known, its lanes and who shares them as JSON (jobs.eta):
--   {"lanes": {name: {"took": µs, "work": µs}}, "flows": {"<class>|<owner>": weight}}, field, value, ...}; no fields: no
--   such batch
arity(1)
local fields = redis.call('HGETALL', KEY.batch .. ARGV[1])
local hold, expected, pools, lanes, flows = 0, 0, {}, {}, {}
for i = 1, #fields, 2 do
  local pool = string.match(fields[i], '^at:([^|]*)|')
  if pool and not pools[pool] then
    pools[pool] = true
    for name in string.gmatch(redis.call('HGET', KEY.pools, pool) or '', '%S+') do
      local held, probe, took, work = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'probe', 'took', 'work'))
      hold = math.max(hold, tonumber(held or 0), tonumber(probe or 0))
      lanes[name] = {took = tonumber(took or 0), work = tonumber(work or 0)}
    end
    local state = redis.call('HGETALL', KEY.pool .. pool)
    for j = 1, #state, 2 do
      if string.find(state[j], '|', 1, true) then flows[state[j]] = (flows[state[j]] or 0) + tonumber(state[j + 1]) end
    end
  end
  local class = string.match(fields[i], '^c:(.*)$')
  if class then
    local price = price_of(class)
    expected = expected and price and expected + price * tonumber(fields[i + 1])
  end
end
local answer = {whole(clock()), whole(hold), expected and whole(expected) or '', cjson.encode({lanes = lanes, flows = flows})}
for _, each in ipairs(fields) do answer[#answer + 1] = each end
return answer
