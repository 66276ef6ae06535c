-- A batch's counters, as of one moment.
-- ARGV: batch
-- Returns: {now in µs, when the hold of the lane ends or 0, field, value, ...}; no fields: no such batch
arity(1)
local answer = {whole(clock()), whole(lane('hold'))}
for _, each in ipairs(redis.call('HGETALL', KEY.batch .. ARGV[1])) do answer[#answer + 1] = each end
return answer
