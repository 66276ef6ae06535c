-- Whether the queues of a pool take part in admission as they should, and its counters equal a recount; and put them right.
-- In one step, over all its queues: nothing moves meanwhile.
-- ARGV: '1' to mend ('0': only look), pool, queues that were seen (those that take part, or are at a cap, are found anyhow)
-- Returns: what is wrong: `queue <queue>`, `ready <by how many>`, `weights <class>|<owner> <by how many>`
if #ARGV < 2 then error('expected a flag and a pool') end
local mend, pool, wrong = ARGV[1] == '1', ARGV[2], {}
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
  local stopped = kind == 'b' and is_halted(name)
  local should = waiting > 0 and not stopped and not redis.call('ZSCORE', KEY.capped, queue)
  local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
  if (tag and true or false) ~= should then
    wrong[#wrong + 1] = 'queue ' .. queue
    if mend and should then
      local last = tonumber(redis.call('ZSCORE', KEY.tags .. place, queue) or 0)
      redis.call('ZADD', KEY.queues .. place, string.format('%.17g', math.max(virtual_time(key, class), last)), queue)
      redis.call('ZREM', KEY.tags .. place, queue)
    elseif mend then
      redis.call('ZREM', KEY.queues .. place, queue)
    end
  end
  if not stopped then ready = ready + waiting end
  if should or (tag and not mend) then
    local owner, weight = owner_of(kind, name)
    local field = class .. '|' .. owner
    weights[field] = (weights[field] or 0) + weight
  end
end

-- What a counter says, and whether that is a number.
local function count(field)
  local told = redis.call('HGET', key, field)
  if told and (not string.find(told, '^%-?%d+$') or #string.gsub(told, '^%-', '') > 18) then return 0, true end
  return tonumber(told or 0), false
end
local told = redis.call('HGETALL', key)
for i = 1, #told, 2 do
  if string.find(told[i], '|', 1, true) and not weights[told[i]] then weights[told[i]] = 0 end
end
for field, should in pairs(weights) do
  local is, odd = count(field)
  if is ~= should or odd then
    wrong[#wrong + 1] = 'weights ' .. field .. ' ' .. string.format('%+.0f', is - should)
    if mend and should ~= 0 then redis.call('HSET', key, field, whole(should)) end
    if mend and should == 0 then redis.call('HDEL', key, field) end
  end
end
local is, odd = count('ready')
if is ~= ready or odd then
  wrong[#wrong + 1] = 'ready ' .. string.format('%+.0f', is - ready)
  if mend then redis.call('HSET', key, 'ready', whole(ready)) end
end
return wrong
