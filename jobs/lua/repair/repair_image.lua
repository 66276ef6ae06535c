-- Whether a stored image is known in both places and goes when it should; and put it right.
-- ARGV: '1' to mend ('0': only look), hash
-- Returns: {} where it is right, {'image'}, or {'gone'}: unfinished jobs name one that is not there
arity(2)
local mend, hash = ARGV[1] == '1', ARGV[2]
local there, kept = redis.call('ZSCORE', KEY.images, hash), redis.call('HEXISTS', KEY.kept, hash) == 1
local named = redis.call('HEXISTS', KEY.uses, hash) == 1
if not kept then
  -- Nobody can know any more where its bytes are: then it is not there, and an upload brings it back.
  if there and mend then redis.call('ZREM', KEY.images, hash) end
  return there and {'image'} or named and {'gone'} or {}
end
if there and (there == 'inf') == named then return {} end
if mend then redis.call('ZADD', KEY.images, named and '+inf' or whole(clock()), hash) end
return {'image'}
