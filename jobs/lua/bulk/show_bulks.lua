-- Read a bulk action, or the last ones of a caller, newest first.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 who reads: a producer, or '*'
--       2 an id; '' for the last ones
--       3 most
-- Returns: for each {id, prices of its jobs as JSON {`<price class>|<producer>`: forecast_of}, field, value, ...}
arity(3)
local caller, found, answer = ARGV[1], {}, {}
local function add(owner)
  local flat = redis.call('ZREVRANGE', KEY.bulks_of .. owner, 0, ARGV[3] - 1, 'WITHSCORES')
  for i = 1, #flat, 2 do found[#found + 1] = {flat[i], tonumber(flat[i + 1])} end
end
if ARGV[2] ~= '' then
  found[1] = {ARGV[2], 0}
else
  add(caller)
  if caller == ANYONE then
    for _, owner in ipairs(redis.call('SMEMBERS', KEY.producers)) do add(owner) end
  end
  table.sort(found, function(a, b) return a[2] > b[2] end)
end
for place = 1, math.min(#found, tonumber(ARGV[3])) do
  local id, prices, owner = found[place][1], {}, nil
  local fields = redis.call('HGETALL', KEY.bulk .. id)
  for i = 1, #fields, 2 do
    if fields[i] == 'owner' then owner = fields[i + 1] end
    local class, producer = string.match(fields[i], '^c:(.*)|([^|]*)$')
    if class then prices[class .. '|' .. producer] = forecast_of(class, producer) end
  end
  if owner and is_of(owner, caller) then
    local row = {id, next(prices) and cjson.encode(prices) or '{}'}
    for _, each in ipairs(fields) do row[#row + 1] = each end
    answer[#answer + 1] = row
  end
end
return answer
