-- Read the counters of a batch, as of one moment.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id
-- Returns: {now in µs, what is known of the speed of its lanes as JSON (pace_of in shared/forecast.lua), what is known of
--   the prices of its unfinished jobs as JSON {class: forecast_of there}, then field, value, ...}; without fields there
--   is no such batch. More fields: `to_save` and `unsaved`, of how many jobs the results are to be saved or given
--   up; `marked:<mark>`, how many outputs have a mark, where one ever had
arity(1)
local fields = redis.call('HGETALL', KEY.batch .. ARGV[1])
local seen, pools, classes, owner = {}, {}, {}, ''
local reviewed = false
for i = 1, #fields, 2 do
  if fields[i] == 'key' then owner = fields[i + 1] end
  if fields[i] == 'reviewed' then reviewed = true end
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
if #fields > 0 then
  local to_save, unsaved = redis.pcall('SCARD', KEY.batch_saves .. ARGV[1]), redis.pcall('ZCARD', KEY.batch_unsaved .. ARGV[1])
  for name, count in pairs({to_save = to_save, unsaved = unsaved}) do
    answer[#answer + 1] = name
    answer[#answer + 1] = type(count) == 'number' and count or 0 -- of another type: the audit reports it
  end
end
for mark in string.gmatch(reviewed and MARKS or '', '.') do
  local count = redis.pcall('ZCARD', KEY.marked .. mark .. '|' .. ARGV[1])
  answer[#answer + 1] = 'marked:' .. mark
  answer[#answer + 1] = type(count) == 'number' and count or 0
end
return answer
