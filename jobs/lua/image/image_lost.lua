-- The image store has lost an object: the image is not there any more, so that an upload brings it back.
-- ARGV: hash, object
-- Returns: 'lost' | 'other' (another copy is there by now, or none was)
arity(2)
local there = redis.call('HGET', KEY.kept, ARGV[1])
local kept = there and cjson.decode(there)
if not kept or kept.object ~= ARGV[2] then return 'other' end
drop_image(ARGV[1], kept, clock())
return 'lost'
