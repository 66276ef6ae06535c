-- Check that the queues of a pool take part in admission as they should, and that its counters equal a recount; correct
-- them. One step covers all its queues, so nothing changes meanwhile.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 pool
--       3 owners that the caller found sets of, as a JSON list
--       4... queues that the caller found; those that take part, or are at a cap, are found here
-- Returns: what is wrong: `queue <queue>`, `key <owner>`, `ready <amount>`, `weights <class>|<owner> <amount>`
if #ARGV < 3 then error('expected a flag, a pool and owners') end
local repair, pool, problems = ARGV[1] == '1', ARGV[2], {}
local key, queues, owners = KEY.pool .. ARGV[2], {}, {}
local sets = KEY.queues .. pool .. '|'
local function of_pool(list, from)
  for i = from or 1, #list do
    if split_queue(list[i]) == pool then queues[list[i]] = true end
  end
end
if repair then adopt_queues(pool, 1000000) end
for class = 0, 2 do of_pool(redis.call('ZRANGE', sets .. class, 0, -1)) end -- of the version before
of_pool(redis.call('ZRANGE', KEY.capped, 0, -1))
of_pool(ARGV, 4)
for _, owner in ipairs(cjson.decode(ARGV[3])) do owners[owner] = true end
for _, owner in ipairs(redis.call('ZRANGE', KEY.queues .. pool, 0, -1)) do owners[owner] = true end
for _, field in ipairs(redis.call('HKEYS', key)) do
  local owner = string.match(field, '^%d|(.*)$')
  if owner then owners[owner] = true end
end
for queue in pairs(queues) do
  local _, _, kind, name = split_queue(queue)
  owners[owner_of(kind, name)] = true
end
-- By queue, the keys among whose queues it takes part.
local among = {}
for owner in pairs(owners) do
  for class = 0, 2 do
    local found = redis.call('ZRANGE', sets .. class .. '|' .. owner, 0, -1)
    of_pool(found)
    for _, queue in ipairs(found) do
      among[queue] = among[queue] or {}
      table.insert(among[queue], owner)
    end
  end
end

local ready, weights = 0, {}
for queue in pairs(queues) do
  local _, class, kind, name = split_queue(queue)
  local owner, weight = owner_of(kind, name)
  local set, waiting = pool .. '|' .. class .. '|' .. owner, redis.call('ZCARD', KEY.ready .. queue)
  local stopped = is_halted(kind, name)
  local should = waiting > 0 and not stopped and not redis.call('ZSCORE', KEY.capped, queue)
  local takes_part = redis.call('ZSCORE', KEY.queues .. set, queue) or redis.call('ZSCORE', sets .. class, queue)
  local elsewhere = false
  for _, other in ipairs(among[queue] or {}) do
    if other ~= owner then
      elsewhere = true
      if repair then redis.call('ZREM', sets .. class .. '|' .. other, queue) end
    end
  end
  if (takes_part and true or false) ~= should or elsewhere then
    problems[#problems + 1] = 'queue ' .. queue
    if repair and should and not takes_part then join_set(set, queue) end
    if repair and not should then redis.call('ZREM', KEY.queues .. set, queue) end
  end
  if not stopped then ready = ready + waiting end
  if should or (takes_part and not repair) then
    local field = class .. '|' .. owner
    weights[field] = (weights[field] or 0) + weight
  end
end
for owner in pairs(owners) do
  local waits = redis.call('EXISTS', sets .. '0|' .. owner, sets .. '1|' .. owner, sets .. '2|' .. owner) > 0
  local takes_part = redis.call('ZSCORE', KEY.queues .. pool, owner)
  if waits ~= (takes_part and true or false) then
    problems[#problems + 1] = 'key ' .. owner
    if repair and waits then join_set(pool, owner) end
    if repair and not waits then redis.call('ZREM', KEY.queues .. pool, owner) end
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
  if string.find(stored[i], '^%d|') and not weights[stored[i]] then weights[stored[i]] = 0 end
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
