-- Claim the notices that one target is to get now: each until its lease ends, when it is due again unless it was sent.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 target
--       2 lease in µs
--       3 least µs between two messages to a target
--       4 least µs between two notices of the same
--       5... for each notice: its name, µs since when it holds, µs after which it is sent again while it holds
-- Returns: the names of the claimed ones
-- A repeat claims nothing before the lease ends.
if #ARGV < 4 or #ARGV % 3 ~= 1 then error('expected a target, three times and notices') end
local now, target, claimed = clock(), ARGV[1], {}
redis.call('ZREMRANGEBYSCORE', KEY.notices, '-inf', whole(now - NOTICES_KEPT))
redis.call('ZREMRANGEBYSCORE', KEY.claimed_notices, '-inf', whole(now))
local last = tonumber(redis.call('ZSCORE', KEY.notices, target) or 0)
if now - last < tonumber(ARGV[3]) then return claimed end
for i = 5, #ARGV, 3 do
  local entry = target .. '|' .. ARGV[i]
  local sent = tonumber(redis.call('ZSCORE', KEY.notices, entry) or 0)
  local is_new = tonumber(ARGV[i + 1]) > sent and now - sent >= tonumber(ARGV[4])
  if (sent == 0 or is_new or now - sent >= tonumber(ARGV[i + 2])) and not redis.call('ZSCORE', KEY.claimed_notices, entry) then
    redis.call('ZADD', KEY.claimed_notices, whole(now + tonumber(ARGV[2])), entry)
    claimed[#claimed + 1] = ARGV[i]
  end
end
return claimed
