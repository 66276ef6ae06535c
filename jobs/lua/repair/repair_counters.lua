-- Correct counters by what they are off. Lawful changes move a counter and what it counts together, so that this stays
-- the same whatever goes on. Only one may do so at a time, who also counts under this lock, and each call only once.
-- ARGV: the lock as it is ('': free), as it is to be ('': free again), ms for which it then holds, then key, field, by how
--       much, '1' where zero is written as absence ...
-- Returns: 'done' | 'refused' (another has it, it is over, or this very call has been made)
if #ARGV < 3 or #ARGV % 4 ~= 3 then error('expected 3 arguments and 4 for each counter') end
local held = redis.pcall('GET', KEY.repair)
if type(held) == 'table' then
  redis.call('DEL', KEY.repair) -- no lock: something else stands there
  held = false
end
if (held or '') ~= ARGV[1] then return 'refused' end
if ARGV[2] == '' then redis.call('DEL', KEY.repair) else redis.call('SET', KEY.repair, ARGV[2], 'PX', ARGV[3]) end
local function correct(key, field, by, absent)
  local told = redis.call('HGET', key, field)
  -- What is no number counts as zero, by which it was found to be off: nothing can have moved it meanwhile.
  if told and (not string.find(told, '^%-?%d+$') or #string.gsub(told, '^%-', '') > 18) then redis.call('HDEL', key, field) end
  if redis.call('HINCRBY', key, field, by) == 0 and absent == '1' then redis.call('HDEL', key, field) end
end
-- One that cannot be corrected, since its key is no hash, does not keep the others from being corrected.
for i = 4, #ARGV, 4 do pcall(correct, ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return 'done'
