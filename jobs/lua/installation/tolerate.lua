-- Redis went back by no more than may be lost: a worker goes on with what is there, and all jobs are looked up.
-- ARGV: the number of the epoch that was looked at, lease of submissions in µs, the number of the epoch and the time in µs
--       that are known of what was lost
-- Returns: 'tolerated' | 'refused' (another worker found that more is lost) | 'changed' (another epoch has begun since)
arity(4)
if epoch().lost then return 'refused' end
if epoch().number ~= ARGV[1] then return 'changed' end
local now, known = clock(), tonumber(ARGV[3])
if tonumber(epoch().number) > known then
  trust_from(now, tonumber(ARGV[4])) -- all jobs are doubted already, since the restart was noticed
else
  accept_data(now, tonumber(ARGV[2]), 0, epoch().installation, known, tonumber(ARGV[4]))
end
return 'tolerated'
