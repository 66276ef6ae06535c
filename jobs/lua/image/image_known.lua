-- Read which of these images are stored. Asking counts as use: they stay for the whole retention from now on.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... hashes
-- Returns: for each its description as JSON (jobs.images.images), or ''
if #ARGV == 0 then error('expected hashes') end
local answer = {}
for i, hash in ipairs(ARGV) do
  answer[i] = redis.call('HGET', KEY.kept, hash) or ''
  touch_image(hash, clock())
end
return answer
