-- Read the limit of slots in force, of lanes that learn theirs.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... lane, max_in_flight (0: no limit), for each
-- Returns: the most images at once, for each; 0: no limit
if #ARGV == 0 or #ARGV % 2 ~= 0 then error('expected a lane and its limit, for each') end
local answer = {}
for i = 1, #ARGV, 2 do
  local learned = redis.call('HGET', KEY.lane .. ARGV[i], 'limit')
  if learned and not tonumber(learned) then damaged(KEY.lane .. ARGV[i], 'its field limit is no number') end
  answer[#answer + 1] = slots_limit(tonumber(ARGV[i + 1]), learned)
end
return answer
