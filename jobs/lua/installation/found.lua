-- What is there was compared with what was seen of it, and may be gone on with: write the record of the installation where
-- there is none, and notice a restart.
-- ARGV: id for a new installation, lease of submissions in µs, '1' where a restart of Redis counts as a loss of data,
--       the number of the epoch that was looked at
-- Returns: 'found' | 'refused' (a worker found that data are lost) | 'changed' (another epoch has begun since)
-- A repeat changes nothing.
arity(4)
if epoch().lost then return 'refused' end
if epoch().number ~= ARGV[4] then return 'changed' end
if not epoch().installation then
  redis.call('HSET', KEY.epoch, 'installation', ARGV[1])
  redis.call('HSETNX', KEY.epoch, 'accepted', '0')
  current = nil
end
notice_restart(clock(), tonumber(ARGV[2]), ARGV[3])
return 'found'
