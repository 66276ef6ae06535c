-- Jobs are lost: from now on no work is taken in or handed out, until an operator accepts what is there (recover.lua).
-- ARGV: the number of the epoch that was looked at, the reason, what was expected instead as JSON
-- Returns: 'refused' | 'already' (the first reason stands) | 'changed' (an operator, or another epoch, was faster)
arity(3)
if epoch().lost then return 'already' end
if epoch().number ~= ARGV[1] then return 'changed' end
if redis.call('TYPE', KEY.epoch).ok ~= 'hash' then redis.call('DEL', KEY.epoch) end
redis.call('HSET', KEY.epoch, 'lost', ARGV[2], 'expected', ARGV[3], 'lost_at', whole(clock()))
return 'refused'
