-- Turns: who is the first in a set of fair queueing (queues.lua), for one call of admission that may have to pass members
-- by.

local NORMAL = 1 -- the rank of keys that the operator gave none
local function tag_text(tag) return string.format('%.17g', tag) end

-- What this call leaves where it is: by set, members that cannot be served now. `passes`: how many, of the present
-- rank.
local passed, passes = {}, 0
local function passed_of(set)
  passed[set] = passed[set] or {names = {}, count = 0}
  return passed[set]
end
local function pass(set, member)
  local those = passed_of(set)
  if those.names[member] then return end
  those.names[member], those.count = true, those.count + 1
  passes = passes + 1
end

-- Return the tags of members of a set; false for those that it lacks.
local function tags_of(set, members)
  local tags = {}
  for from = 1, #members, 1000 do -- Lua passes only so many arguments
    local till = math.min(from + 999, #members)
    for i, tag in ipairs(redis.call('ZMSCORE', KEY.queues .. set, unpack(members, from, till))) do
      tags[from + i - 1] = tag and tonumber(tag)
    end
  end
  return tags
end

-- Return the member with the least tag, its tag, and the tag of the next, among those of a set that were not passed.
local function least_two(set, members)
  local names, first, least, second = passed_of(set).names, nil, nil, nil
  for i, tag in ipairs(tags_of(set, members)) do
    local member = members[i]
    if tag and not names[member] then
      if not first or tag < least or tag == least and member < first then
        first, least, second = member, tag, least
      elseif not second or tag < second then
        second = tag
      end
    end
  end
  return first, least, second
end

-- Return what `least_two` does; `except`: names of `many` members that do not count. `in_order`: of the whole set;
-- otherwise of `most` members from a random place, which stay the same during this call.
local function first_two(set, except, many, in_order, most)
  local those, found = passed_of(set), {}
  if in_order then
    local row = redis.call('ZRANGE', KEY.queues .. set, 0, those.count + many + 1, 'WITHSCORES')
    for i = 1, #row, 2 do
      if not those.names[row[i]] and not except[row[i]] then
        found[#found + 1] = row[i]
        found[#found + 1] = tonumber(row[i + 1])
      end
    end
    return found[1], found[2], found[4]
  end
  if not those.others then
    those.others = {}
    local start = math.random(0, math.max(0, redis.call('ZCARD', KEY.queues .. set) - 1))
    local function look(from, count)
      for _, member in ipairs(count > 0 and redis.call('ZRANGE', KEY.queues .. set, from, from + count - 1) or {}) do
        most = most - 1
        if not except[member] then table.insert(those.others, member) end
      end
    end
    look(start, most)
    look(0, math.min(start, most)) -- the last is followed by the first
  end
  return least_two(set, those.others)
end

-- Return, by rank, those of `keys_of` (keys by rank) that wait in a pool, and their `count`.
local function ranked_in(from, keys_of)
  local ranked = {count = 0}
  for rank, keys in pairs(keys_of) do
    ranked[rank] = {}
    for i, tag in ipairs(tags_of(from, keys)) do
      if tag then table.insert(ranked[rank], keys[i]) end
    end
    ranked.count = ranked.count + #ranked[rank]
  end
  return ranked
end

-- Give keys whose rank has changed the present of their new rank: each rank counts its own virtual time. The pool has a
-- checksum of the ranks, and the ranks.
local function follow_ranks(from, ranks)
  local state = KEY.pool .. from
  local sum = next(ranks) and whole(tonumber(string.sub(redis.sha1hex(cjson.encode(ranks)), 1, 12), 16))
  local before = redis.call('HGET', state, 'ranks')
  if before == sum then return end
  local was, fields = {}, redis.call('HGETALL', state)
  for i = 1, #fields, 2 do
    local owner = string.match(fields[i], '^r|(.*)$')
    if owner then was[owner] = tonumber(fields[i + 1]) end
  end
  local function follow(owner)
    local rank, present = ranks[owner] or NORMAL, nil
    if (was[owner] or NORMAL) == rank then return end
    present = tag_text(virtual_time(state, rank))
    redis.call('ZADD', KEY.queues .. from, 'XX', 'LT', present, owner)
    redis.call('ZADD', KEY.tags .. from, 'XX', 'LT', present, owner)
    if rank == NORMAL then redis.call('HDEL', state, 'r|' .. owner)
    else redis.call('HSET', state, 'r|' .. owner, rank) end
  end
  for owner in pairs(ranks) do follow(owner) end
  for owner in pairs(was) do follow(owner) end
  if sum then redis.call('HSET', state, 'ranks', sum) else redis.call('HDEL', state, 'ranks') end
end
