-- Record that the image store has lost an object. The image is then not stored, so that an upload restores it.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 hash of the image
--       2 object
-- Returns: 'lost' | 'other' (there is another copy, or no image)
arity(2)
local there = redis.call('HGET', KEY.kept, ARGV[1])
local kept = there and cjson.decode(there)
if not kept or kept.object ~= ARGV[2] then return 'other' end
drop_image(ARGV[1], kept, clock())
return 'lost'
