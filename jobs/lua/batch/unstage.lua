-- Forget what was staged.
-- ARGV: token of an upload that was not committed
-- Returns: how many keys are gone
arity(1)
return redis.call('UNLINK', KEY.staged .. ARGV[1], KEY.lines .. ARGV[1], KEY.pinned .. ARGV[1])
