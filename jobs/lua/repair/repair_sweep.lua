-- Check that the list of sweeps has a batch exactly where a sweep of it has begun; correct it where that is safe.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 batch id
-- Returns: {} where it is right, {'sweep'}, or {'broken'} where a sweep has begun but its description is incomplete
arity(2)
local repair, batch = ARGV[1] == '1', ARGV[2]
local key = KEY.batch .. batch
local action, only, pos, upto, many = unpack(redis.call('HMGET', key, 'do', 'only', 'pos', 'upto', 'many'))
local listed = redis.call('ZSCORE', KEY.sweeps, batch)
if (action and true or false) == (listed and true or false) then return {} end
if not action then
  if repair then redis.call('ZREM', KEY.sweeps, batch) end
  return {'sweep'}
end
local known = only and pos and upto and many
if action == 'retry' then known = known and pcall(cjson.decode, only) end
if action == 'commit' then known = only end
if not known then return {'broken'} end
if repair then redis.call('ZADD', KEY.sweeps, whole(clock()), batch) end
return {'sweep'}
