-- Which of these images are there. To ask is to need them: they stay for the whole retention from now on.
-- ARGV: hashes...
-- Returns: what is kept of each, as JSON (jobs.images.images), or ''
if #ARGV == 0 then error('expected hashes') end
local answer = {}
for i, hash in ipairs(ARGV) do
  answer[i] = redis.call('HGET', KEY.kept, hash) or ''
  touch_image(hash, clock())
end
return answer
