-- Read the counters of a batch, as of one moment.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
-- Returns: {now in µs, what is known of the speed of its lanes as JSON (pace_of in shared/forecast.lua), what is known of
--   the prices of its unfinished jobs as JSON {class: forecast_of there}, then field, value, ...; `marked:<mark>`: how many outputs
--   have it}; without fields there is no such batch
arity(1)
local fields = redis.call('HGETALL', KEY.batch .. ARGV[1])
local seen, pools, classes, owner = {}, {}, {}, ''
for i = 1, #fields, 2 do
  if fields[i] == 'key' then owner = fields[i + 1] end
end
for i = 1, #fields, 2 do
  local pool = string.match(fields[i], '^' .. BATCH.place .. '([^|]*)|')
  if pool and not seen[pool] then
    seen[pool] = true
    pools[#pools + 1] = pool
  end
  local class = string.match(fields[i], '^' .. BATCH.unfinished .. '(.*)$')
  if class then classes[class] = forecast_of(class, owner) end
end
local answer = {whole(clock()), cjson.encode(pace_of(pools)), cjson.encode(classes)}
for _, each in ipairs(fields) do answer[#answer + 1] = each end
for mark in string.gmatch(#fields > 0 and MARKS or '', '.') do
  local count = redis.call('ZCARD', KEY.marked .. mark .. '|' .. ARGV[1])
  if count > 0 then
    answer[#answer + 1] = 'marked:' .. mark
    answer[#answer + 1] = count
  end
end
return answer
