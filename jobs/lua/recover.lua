-- Doubt all jobs: each is looked up at the provider before it is sent. For a Redis whose data was replaced by older ones.
-- ARGV: lease of submissions in µs; for how many µs jobs that are accepted from now on are doubted too
-- Returns: {number of the epoch, since when, before when jobs are doubted, both in µs}
-- A second run begins another epoch: what was looked up since the first is looked up again, which does no harm.
arity(2)
begin_epoch(clock(), tonumber(ARGV[1]), tonumber(ARGV[2]))
return redis.call('HMGET', KEY.epoch, 'number', 'since', 'before')
