-- Record that a message went to a target, with these notices; without any: the message failed.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 target
--       2... names of notices
-- Returns: 0
-- A repeat changes the times only.
if #ARGV < 1 then error('expected a target') end
local now = whole(clock())
redis.call('ZADD', KEY.notices, now, ARGV[1])
for i = 2, #ARGV do
  local entry = ARGV[1] .. '|' .. ARGV[i]
  redis.call('ZADD', KEY.notices, now, entry)
  redis.call('ZREM', KEY.claimed_notices, entry)
end
return 0
