-- A batch's counters, as of one moment.
-- ARGV: batch
-- Returns: {now in µs, when the last hold of its lanes ends or 0, field, value, ...}; no fields: no such batch
arity(1)
local fields = redis.call('HGETALL', KEY.batch .. ARGV[1])
local hold = 0
for i = 1, #fields, 2 do
  local pool = string.match(fields[i], '^at:([^|]*)|')
  for name in string.gmatch(pool and redis.call('HGET', KEY.pools, pool) or '', '%S+') do
    hold = math.max(hold, number(KEY.lane .. name, 'hold'))
  end
end
local answer = {whole(clock()), whole(hold)}
for _, each in ipairs(fields) do answer[#answer + 1] = each end
return answer
