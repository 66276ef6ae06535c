-- Correct counters by the amounts that they are off. Regular changes move a counter together with what it counts, so
-- the amount stays the same whatever goes on. A lock lets one repair at a time count and correct, and each call take
-- effect once.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 the lock as it must be ('': free)
--       2 the lock as it is to be ('': free)
--       3 ms for which it then holds
--       4... key, field, amount to add, '1' where zero is stored as absence, for each counter
-- Returns: 'done' | 'refused' (another repair has the lock, it has expired, or this very call was made before)
if #ARGV < 3 or #ARGV % 4 ~= 3 then error('expected 3 arguments and 4 for each counter') end
local held = redis.pcall('GET', KEY.repair)
if type(held) == 'table' then
  redis.call('DEL', KEY.repair) -- the value is of another type, so it is no lock
  held = false
end
if (held or '') ~= ARGV[1] then return 'refused' end
if ARGV[2] == '' then redis.call('DEL', KEY.repair) else redis.call('SET', KEY.repair, ARGV[2], 'PX', ARGV[3]) end
local function correct(key, field, by, absent)
  local stored = redis.call('HGET', key, field)
  -- A value that is no number counted as zero in the recount. It cannot have changed since, because HINCRBY fails on
  -- it.
  if stored and (not string.find(stored, '^%-?%d+$') or #string.gsub(stored, '^%-', '') > 18) then
    redis.call('HDEL', key, field)
  end
  if redis.call('HINCRBY', key, field, by) == 0 and absent == '1' then redis.call('HDEL', key, field) end
end
-- A counter that cannot be corrected, because its key is no hash, does not keep the others from being corrected.
for i = 4, #ARGV, 4 do pcall(correct, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return 'done'
