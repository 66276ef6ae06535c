-- Forget a staged upload that was not committed.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 token of the upload
-- Returns: how many keys were removed
arity(1)
return redis.call('UNLINK', KEY.staged .. ARGV[1], KEY.lines .. ARGV[1], KEY.pinned .. ARGV[1])
