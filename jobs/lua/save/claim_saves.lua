-- Claim jobs whose results are to be saved, as far as places allow: in turn from the queues of all owners and lanes.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 lease in µs
--       2 most places of all workers
--       3 most jobs to claim
-- Returns: for each claimed job its record as JSON, with `id` and `now` (µs). `fence` is the token of this claim: saves
--   have their own. Each holds a place until record_save.lua, or until the lease ends.
-- A second run claims other jobs. What a killed worker claimed is due again when its lease ends.
arity(3)
local now, limit, most = clock(), tonumber(ARGV[2]), tonumber(ARGV[3])
local lease_end = now + tonumber(ARGV[1])
local places, lanes, answer = count_places(KEY.saving, now), {}, {}
for name, count in pairs(places.receiver) do
  local lane = string.match(name, '|(.*)$')
  lanes[lane] = (lanes[lane] or 0) + count
end
redis.call('DEL', KEY.save_hint)
local queues, several, first = redis.call('ZRANGE', KEY.save_turns, 0, MOST_TURNS - 1), false, nil
for _, queue in ipairs(queues) do
  local lane = string.match(queue, '|(.*)$')
  first = first or lane
  several = several or lane ~= first
end
-- Claim the next due job of a queue. Returns whether there was one.
local function claim_next(queue, owner, lane)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.save_queue .. queue, '-inf', whole(now), 'LIMIT', 0, 10)) do
    local job, problem = read(id)
    if problem then
      redis.call('ZADD', KEY.save_queue .. queue, whole(lease_end), id)
    elseif not job or not job.save_since then
      redis.call('ZREM', KEY.save_queue .. queue, id)
      redis.call('ZREM', KEY.saves, id)
    else
      redis.call('ZADD', KEY.save_queue .. queue, whole(lease_end), id)
      redis.call('ZADD', KEY.saving, whole(lease_end), queue .. '|' .. id)
      save(job, RECORD{save_fence = tonumber(job.save_fence or 0) + 1, save_at = lease_end})
      places.all, lanes[lane] = places.all + 1, (lanes[lane] or 0) + 1
      places.owner[owner] = (places.owner[owner] or 0) + 1
      job.now, job.fence = whole(now), job.save_fence
      answer[#answer + 1] = cjson.encode(job)
      return true
    end
  end
  return false
end
local turn, found = now, true
while found and #answer < most do
  found = false
  for i, queue in ipairs(queues) do
    if #answer >= most then break end
    local owner, lane = string.match(queue, '^(.*)|([^|]*)$')
    local room = owner_has_room(places, owner, limit) and (not several or (lanes[lane] or 0) < limit - places.all)
    if queue ~= '' and room then
      if claim_next(queue, owner, lane) then
        found = true
      else
        queues[i] = '' -- nothing of it is due
      end
      turn = turn + 1
      if redis.call('EXISTS', KEY.save_queue .. queue) == 1 then
        redis.call('ZADD', KEY.save_turns, whole(turn), queue)
      else
        redis.call('ZREM', KEY.save_turns, queue)
      end
    end
  end
end
return answer
