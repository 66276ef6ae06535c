-- Forget jobs and batches that ended long ago, and what was spent on days long past. Bounded work a call.
-- ARGV: retention in µs, most of each kind, days for which is kept what was spent
-- Returns: {jobs forgotten, batches forgotten}
arity(3)
local before, limit = clock() - tonumber(ARGV[1]), tonumber(ARGV[2])
local gone, closed = 0, 0
for state in pairs(FINAL) do
  local old = redis.call('ZRANGEBYSCORE', KEY.state .. state, '-inf', whole(before), 'LIMIT', 0, limit)
  for _, id in ipairs(old) do
    local ended, phase, owing, batch, version = unpack(redis.call('HMGET', KEY.job .. id, 'e', 'p', 'g', 'b', 'Z'))
    if tonumber(version or 1) <= VERSION and not phase and not owing and tonumber(ended or 0) < before then
      redis.call('ZREM', KEY.state .. state, id)
      if batch and state == 'failed' then tally(batch, redis.call('GET', KEY.result .. id), -1) end
      local labels = redis.call('GET', KEY.labels .. id)
      if labels then index_labels(KEY.labelled, labels, id) end
      local parked = redis.call('HGETALL', KEY.parked .. id)
      for i = 1, #parked, 2 do redis.call('DEL', KEY.celery .. parked[i]) end
      redis.call('DEL', KEY.job .. id, KEY.text .. id, KEY.labels .. id, KEY.result .. id)
      redis.call('DEL', KEY.parked .. id, KEY.told .. id)
      redis.call('ZREM', KEY.undelivered, id)
      if batch then redis.call('HINCRBY', KEY.batch .. batch, 'gone', 1) end
      gone = gone + 1
    end
  end
end
for _, batch in ipairs(redis.call('ZRANGEBYSCORE', KEY.batches, '-inf', whole(before), 'LIMIT', 0, limit)) do
  local accepted, without, doing, labels =
    unpack(redis.call('HMGET', KEY.batch .. batch, 'accepted', 'gone', 'do', 'labels'))
  if doing ~= 'commit' and tonumber(accepted or 0) <= tonumber(without or 0) then
    if labels then index_labels(KEY.grouped, labels, batch) end
    redis.call('DEL', KEY.batch .. batch)
    redis.call('UNLINK', KEY.members .. batch)
    redis.call('ZREM', KEY.batches, batch)
    redis.call('ZREM', KEY.sweeps, batch)
    redis.call('ZREM', KEY.at_cap, batch)
    closed = closed + 1
  end
end
local day = redis.call('ZRANGEBYSCORE', KEY.days, '-inf', day_of(clock()) - ARGV[3], 'LIMIT', 0, 1)[1]
if day then
  local fields = redis.call('HGETALL', KEY.spent .. day)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '$' then redis.call('HINCRBY', KEY.totals, 'past', fields[i + 1]) end
  end
  redis.call('DEL', KEY.spent .. day)
  redis.call('ZREM', KEY.days, day)
end
return {gone, closed}
