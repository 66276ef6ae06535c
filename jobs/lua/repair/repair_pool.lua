-- Check that the queues of a pool take part in admission as they should, and that its counters equal a recount; correct
-- them. One step covers all its queues, so nothing changes meanwhile.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 pool
--       3... queues that the caller found; those that take part, or are at a cap, are found here
-- Returns: what is wrong: `queue <queue>`, `ready <amount>`, `weights <class>|<owner> <amount>`
if #ARGV < 2 then error('expected a flag and a pool') end
local repair, pool, problems = ARGV[1] == '1', ARGV[2], {}
local key, queues = KEY.pool .. ARGV[2], {}
local function of_pool(list, from)
  for i = from or 1, #list do
    if split_queue(list[i]) == pool then queues[list[i]] = true end
  end
end
for class = 0, 2 do of_pool(redis.call('ZRANGE', KEY.queues .. pool .. '|' .. class, 0, -1)) end
of_pool(redis.call('ZRANGE', KEY.capped, 0, -1))
of_pool(ARGV, 3)

local ready, weights = 0, {}
for queue in pairs(queues) do
  local _, class, kind, name = split_queue(queue)
  local place, waiting = pool .. '|' .. class, redis.call('ZCARD', KEY.ready .. queue)
  local stopped = kind == PAYER.batch and is_halted(name)
  local should = waiting > 0 and not stopped and not redis.call('ZSCORE', KEY.capped, queue)
  local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
  if (tag and true or false) ~= should then
    problems[#problems + 1] = 'queue ' .. queue
    if repair and should then
      local last = tonumber(redis.call('ZSCORE', KEY.tags .. place, queue) or 0)
      redis.call('ZADD', KEY.queues .. place, string.format('%.17g', math.max(virtual_time(key, class), last)), queue)
      redis.call('ZREM', KEY.tags .. place, queue)
    elseif repair then
      redis.call('ZREM', KEY.queues .. place, queue)
    end
  end
  if not stopped then ready = ready + waiting end
  if should or (tag and not repair) then
    local owner, weight = owner_of(kind, name)
    local field = class .. '|' .. owner
    weights[field] = (weights[field] or 0) + weight
  end
end

-- Return a counter, and whether it is no number.
local function count(field)
  local stored = redis.call('HGET', key, field)
  if stored and (not string.find(stored, '^%-?%d+$') or #string.gsub(stored, '^%-', '') > 18) then return 0, true end
  return tonumber(stored or 0), false
end
local stored = redis.call('HGETALL', key)
for i = 1, #stored, 2 do
  if string.find(stored[i], '|', 1, true) and not weights[stored[i]] then weights[stored[i]] = 0 end
end
for field, should in pairs(weights) do
  local is, is_damaged = count(field)
  if is ~= should or is_damaged then
    problems[#problems + 1] = 'weights ' .. field .. ' ' .. string.format('%+.0f', is - should)
    if repair and should ~= 0 then redis.call('HSET', key, field, whole(should)) end
    if repair and should == 0 then redis.call('HDEL', key, field) end
  end
end
local is, is_damaged = count('ready')
if is ~= ready or is_damaged then
  problems[#problems + 1] = 'ready ' .. string.format('%+.0f', is - ready)
  if repair then redis.call('HSET', key, 'ready', whole(ready)) end
end
return problems
