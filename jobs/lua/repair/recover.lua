-- Accept the data of this Redis as the truth, for an operator, and have all jobs looked up before they are sent. For a
-- Redis whose data were replaced by older ones, or lost.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease of submissions in µs
--       2 µs for which jobs that are accepted from now on are looked up, too
--       3 id for the installation where the record has none
--       4 the highest number of an epoch that is known from before the loss; 0: none
--       5 the latest time in µs that is known from before the loss; 0: none
-- Returns: {number of the epoch, since when, jobs accepted before when are looked up, both in µs}
-- A second run begins another epoch, and jobs that were looked up since the first are looked up again, which does no harm.
arity(5)
local now = clock()
accept_data(now, tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
return redis.call('HMGET', KEY.epoch, 'number', 'since', 'before')
