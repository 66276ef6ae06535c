-- Whether a change of all jobs of a batch is under way exactly where one was begun; and put it right, where that is safe.
-- ARGV: '1' to mend ('0': only look), batch
-- Returns: {} where it is right, {'sweep'}, or {'broken'}: what was begun cannot be made, since it is not known what it was
arity(2)
local mend, batch = ARGV[1] == '1', ARGV[2]
local key = KEY.batch .. batch
local action, only, pos, upto, many = unpack(redis.call('HMGET', key, 'do', 'only', 'pos', 'upto', 'many'))
local listed = redis.call('ZSCORE', KEY.sweeps, batch)
if (action and true or false) == (listed and true or false) then return {} end
if not action then
  if mend then redis.call('ZREM', KEY.sweeps, batch) end
  return {'sweep'}
end
local known = only and pos and upto and many
if action == 'retry' then known = known and pcall(cjson.decode, only) end
if action == 'commit' then known = only end
if not known then return {'broken'} end
if mend then redis.call('ZADD', KEY.sweeps, whole(clock()), batch) end
return {'sweep'}
