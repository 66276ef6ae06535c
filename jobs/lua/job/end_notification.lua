-- Give a place back, record whether the receiver accepted the notification, and give the place to one that waits.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 owner
--       3 receiver
--       4 '1' if it was accepted
--       5 a random number in [0, 1)
--       6 most places of all owners
--       7 most waiting notifications to begin
--       8 fence of the claim
--       9 why it was not accepted, or ''
--       10 µs of failures after which the receiver is disabled; 0: never
-- Returns: the job ids of notifications that begin now: each has a place.
-- The answer counts also where the lease was over. A repeat changes nothing and returns none. Those of the first call
-- begin when their lease and their alarm are due.
arity(10)
local owner, receiver = ARGV[2], ARGV[3]
local now, name = clock(), owner .. '|' .. receiver
local started = {}
local held, mark = redis.call('ZREM', KEY.notifying, name .. '|' .. ARGV[1]) == 1, ARGV[1] .. ' ' .. ARGV[8]
if not held and redis.call('HGET', KEY.receiver .. name, 'last') == mark then return started end
record_answer(owner, receiver, ARGV[4] == '1', tonumber(ARGV[5]), now, ARGV[9], tonumber(ARGV[10]))
redis.call('HSET', KEY.receiver .. name, 'last', mark)
if not held then return started end
local places = count_places(KEY.notifying, now)
while #started < tonumber(ARGV[7]) do
  local id = start_waiting(places, tonumber(ARGV[6]), now)
  if not id then break end
  started[#started + 1] = id
end
return started
