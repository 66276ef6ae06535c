-- These objects are removed from the image store.
-- ARGV: objects...
-- Returns: how many of them were still to go
if #ARGV == 0 then error('expected objects') end
return redis.call('ZREM', KEY.going, unpack(ARGV))
