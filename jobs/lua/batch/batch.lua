-- Read the counters of a batch, as of one moment.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
-- Returns: {now in µs, when the last hold or probe wait of its lanes ends in µs (0: none), nano-dollars that its
--   unfinished jobs will cost ('' where a price is not known), its lanes and the queues beside it as JSON (jobs.eta):
--   {"lanes": {name: {"took": µs, "work": µs}}, "flows": {"<class>|<owner>": weight}, "resumed": when the service went on
--   after a stall in µs, as text}, then field, value, ...}; without fields there is no such batch
arity(1)
local fields = redis.call('HGETALL', KEY.batch .. ARGV[1])
local hold, expected, pools, lanes, flows, owner = 0, 0, {}, {}, {}, ''
for i = 1, #fields, 2 do
  if fields[i] == 'key' then owner = fields[i + 1] end
end
for i = 1, #fields, 2 do
  local pool = string.match(fields[i], '^' .. BATCH.place .. '([^|]*)|')
  if pool and not pools[pool] then
    pools[pool] = true
    for name in string.gmatch(redis.call('HGET', KEY.pools, pool) or '', '%S+') do
      local held, probe, took, work = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'probe', 'took', 'work'))
      hold = math.max(hold, tonumber(held or 0), tonumber(probe or 0))
      lanes[name] = {took = tonumber(took or 0), work = tonumber(work or 0)}
    end
    local state = redis.call('HGETALL', KEY.pool .. pool)
    for j = 1, #state, 2 do
      if string.find(state[j], '^%d|') then flows[state[j]] = (flows[state[j]] or 0) + tonumber(state[j + 1]) end
    end
  end
  local class = string.match(fields[i], '^' .. BATCH.unfinished .. '(.*)$')
  if class then
    local price = price_of(class, owner)
    expected = expected and price and expected + price * tonumber(fields[i + 1])
  end
end
local resumed = redis.pcall('HGET', KEY.totals, 'resumed')
local answer = {whole(clock()), whole(hold), expected and whole(expected) or '',
  cjson.encode({lanes = lanes, flows = flows, resumed = type(resumed) == 'string' and resumed or '0'})}
for _, each in ipairs(fields) do answer[#answer + 1] = each end
return answer
