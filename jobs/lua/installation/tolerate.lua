-- Go on although Redis went back, because it lost no more than the settings allow: all jobs are looked up before they
-- are sent.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 number of the epoch that was compared
--       2 lease of submissions in µs
--       3 number of the epoch that is known from before the loss
--       4 latest time in µs that is known from before the loss
-- Returns: 'tolerated' | 'refused' (another worker found that more is lost) | 'changed' (another epoch has begun since)
arity(4)
if epoch().lost then return 'refused' end
if epoch().number ~= ARGV[1] then return 'changed' end
local now, known = clock(), tonumber(ARGV[3])
if tonumber(epoch().number) > known then
  trust_from(now, tonumber(ARGV[4])) -- all jobs need a look-up already, since the restart
else
  accept_data(now, tonumber(ARGV[2]), 0, epoch().installation, known, tonumber(ARGV[4]))
end
return 'tolerated'
