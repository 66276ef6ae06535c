-- Check that a stored image stands in both of its indexes, and is removed when it should be; correct it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 hash of the image
-- Returns: {} where it is right, {'image'}, or {'gone'} where unfinished jobs name an image that is not stored
arity(2)
local repair, hash = ARGV[1] == '1', ARGV[2]
local there, kept = redis.call('ZSCORE', KEY.images, hash), redis.call('HEXISTS', KEY.kept, hash) == 1
local named = redis.call('HEXISTS', KEY.uses, hash) == 1
if not kept then
  -- Where its bytes are is not known any more. So it counts as not stored, and an upload restores it.
  if there and repair then redis.call('ZREM', KEY.images, hash) end
  return there and {'image'} or named and {'gone'} or {}
end
if there and (there == 'inf') == named then return {} end
if repair then redis.call('ZADD', KEY.images, named and '+inf' or whole(clock()), hash) end
return {'image'}
