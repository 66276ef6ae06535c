-- Read which of these images are stored, as far as a producer knows. Asking counts as use: they stay for the whole retention from now on.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 the producer (shared/images.lua, has_image)
--       2... hashes
-- Returns: for each its description as JSON (jobs.images.images), or ''
if #ARGV < 2 then error('expected a producer and hashes') end
local answer = {}
for i = 2, #ARGV do
  local known = has_image(ARGV[i], ARGV[1])
  answer[i - 1] = known and redis.call('HGET', KEY.kept, ARGV[i]) or ''
  if known then touch_image(ARGV[i], clock()) end
end
return answer
