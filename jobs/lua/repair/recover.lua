-- An operator accepts what is there as the truth, and has all jobs looked up before they are sent. For a Redis whose data
-- were replaced by older ones, or lost.
-- ARGV: lease of submissions in µs; for how many µs jobs that are accepted from now on are doubted too; id for an
--       installation where the record has none; the highest number of an epoch and the latest time in µs that are known
--       of what was lost (0: none)
-- Returns: {number of the epoch, since when, before when jobs are doubted, both in µs}
-- A second run begins another epoch: what was looked up since the first is looked up again, which does no harm.
arity(5)
local now = clock()
accept_data(now, tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
return redis.call('HMGET', KEY.epoch, 'number', 'since', 'before')
