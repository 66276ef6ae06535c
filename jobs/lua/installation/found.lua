-- Record that what this Redis holds was compared with what workers have seen, and is fit to go on with: write the
-- record of the installation where there is none, and note a restart.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 id for a new installation
--       2 lease of submissions in µs
--       3 '1' where a restart of Redis counts as a loss of data
--       4 number of the epoch that was compared
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
