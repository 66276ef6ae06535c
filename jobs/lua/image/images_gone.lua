-- Record that objects were removed from the image store.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... objects
-- Returns: how many of them were still to be removed
if #ARGV == 0 then error('expected objects') end
return redis.call('ZREM', KEY.going, unpack(ARGV))
