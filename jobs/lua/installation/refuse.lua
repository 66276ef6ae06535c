-- Record that jobs are lost. From now on no work is accepted or handed out, until an operator accepts the data
-- (recover.lua).
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 number of the epoch that was compared
--       2 reason
--       3 what was expected instead, as JSON
-- Returns: 'refused' | 'already' (the first reason stays) | 'changed' (another epoch has begun since)
arity(3)
if epoch().lost then return 'already' end
if epoch().number ~= ARGV[1] then return 'changed' end
if redis.call('TYPE', KEY.epoch).ok ~= 'hash' then redis.call('DEL', KEY.epoch) end
redis.call('HSET', KEY.epoch, 'lost', ARGV[2], 'expected', ARGV[3], 'lost_at', whole(clock()))
return 'refused'
