-- Accept jobs: record, index, alarm, place in the queue, membership of a batch. All or none of a call.
-- ARGV: batch id or '', µs until a waiting job is re-checked, then id, text, model, n, owed, labels (JSON) for each job
-- Returns: {hint to send (0|1), then a word for each job: created | known | conflict}
-- Again with the same arguments: every job is known, nothing changes.
if #ARGV < 2 or (#ARGV - 2) % 6 ~= 0 then error('expected 2 + 6 per job arguments, got ' .. #ARGV) end
local batch, recheck = ARGV[1], tonumber(ARGV[2])
local now = clock()
local created = math.max(now, lane('last') + 1)
local answer, count, seen = {0}, 0, {}

if batch ~= '' and redis.call('HSETNX', KEY.batch .. batch, 'created', whole(now)) == 1 then
  redis.call('HSET', KEY.batch .. batch, 'accepted', 0)
  redis.call('ZADD', KEY.batches, whole(now), batch)
end

for i = 3, #ARGV, 6 do
  local id, text, model, n, owing, labels = unpack(ARGV, i, i + 5)
  if seen[id] or redis.call('EXISTS', KEY.job .. id) == 1 then
    answer[#answer + 1] = redis.call('GET', KEY.text .. id) == text and 'known' or 'conflict'
  else
    seen[id] = true
    local at = whole(created + count)
    local record = {'s', 'queued', 'm', model, 'c', at, 'u', at}
    if n ~= '1' then record[#record + 1] = 'n'; record[#record + 1] = n end
    if owing ~= '' then record[#record + 1] = 'o'; record[#record + 1] = owing end
    if batch ~= '' then record[#record + 1] = 'b'; record[#record + 1] = batch end
    redis.call('HSET', KEY.job .. id, unpack(record))
    redis.call('SET', KEY.text .. id, text)
    if labels ~= '' then redis.call('SET', KEY.labels .. id, labels) end
    redis.call('ZADD', KEY.state .. 'queued', at, id)
    redis.call('ZADD', KEY.ready .. batch, at, id)
    redis.call('ZADD', KEY.alarms, whole(now + recheck), id)
    changed({id = id, s = 'queued', m = model, c = at, b = batch}, '')
    if batch ~= '' then redis.call('RPUSH', KEY.members .. batch, id) end
    count = count + 1
    answer[#answer + 1] = 'created'
  end
end

if count > 0 then
  redis.call('HSET', KEY.lane, 'last', whole(created + count - 1))
  if batch ~= '' then
    redis.call('HINCRBY', KEY.batch .. batch, 'accepted', count)
    redis.call('HINCRBY', KEY.batch .. batch, 'queued', count)
  end
  grown(batch, count)
  answer[1] = wake(now)
end
return answer
