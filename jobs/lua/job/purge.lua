-- Delete jobs and batches that ended before the retention, and the ledger of one day that is too old. Each
-- call does a bounded amount of work.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 retention in µs
--       2 most jobs in each state, and most batches, to check
--       3 days for which spending is kept
-- Returns: {jobs deleted, batches deleted}
arity(3)
local now = clock()
local before, limit = now - tonumber(ARGV[1]), tonumber(ARGV[2])
local forgotten, closed, released, gone = 0, 0, {}, {}
local function forget(id, job, state)
  redis.call('ZREM', KEY.state .. state, id)
  if job.batch and state == 'failed' then count_failure(job.batch, redis.call('GET', KEY.result .. id), -1) end
  local labels = redis.call('GET', KEY.labels .. id)
  if labels then index_labels(KEY.labelled, labels, id) end
  local parked = redis.call('HGETALL', KEY.parked .. id)
  for i = 1, #parked, 2 do redis.call('DEL', KEY.celery .. task_of(parked[i])) end
  redis.call('DEL', KEY.job .. id, KEY.text .. id, KEY.labels .. id, KEY.result .. id)
  redis.call('DEL', KEY.parked .. id, KEY.finished_messages .. id, KEY.revisions .. id, KEY.attempts .. id)
  redis.call('DEL', KEY.revision_digests .. id)
  forget_reviews(id, job.batch)
  if job.notification then note_notification(job, {}, false, now) end
  forget_task(job)
  redis.call('ZREM', KEY.undelivered, id)
  redis.call('ZREM', KEY.unsaved, id)
  if job.unsaved and job.batch then redis.call('ZREM', KEY.batch_unsaved .. job.batch, id) end
  if job.unknown_cost and job.batch then
    count_unknown_in_batch(job.batch, tonumber(redis.call('ZSCORE', KEY.unknown_costs, id) or now), -1)
  end
  redis.call('ZREM', KEY.unknown_costs, id)
  redis.call('ZREM', KEY.damaged, id)
  local owner = owner_of_job(job)
  if job.created_at then gone[#gone + 1] = {owner, tonumber(job.created_at)} end
  if job.size then
    released[owner] = (released[owner] or 0) + job.size
  end
  if job.batch then redis.call('HINCRBY', KEY.batch .. job.batch, 'gone', 1) end
  forgotten = forgotten + 1
end
for state in pairs(FINAL) do
  local old = redis.call('ZRANGEBYSCORE', KEY.state .. state, '-inf', whole(before), 'LIMIT', 0, limit)
  for _, id in ipairs(old) do
    local job, problem = read(id)
    job = job or not problem and {} -- only the index entry is left
    if job and not job.phase and not job.owed and not job.save_since and tonumber(job.ended_at or 0) < before then
      guarded(id, now, function() forget(id, job, state) end)
    end
  end
end
forget_spans(gone)
for owner, size in pairs(released) do count_held(KEY.stored, owner, whole(-size)) end
if forgotten > 0 then redis.call('HINCRBY', KEY.totals, 'purged', forgotten) end
-- A damaged job with nothing left to do has no alarm that would remove it from the list.
for _, id in ipairs(redis.call('ZRANGE', KEY.damaged, 0, limit - 1)) do
  local job, problem = read(id)
  if not problem and (not job or FINAL[job.state] and not job.phase and not job.owed) then
    redis.call('ZREM', KEY.damaged, id)
  end
end
local function close(batch)
  local accepted, deleted, doing, labels, events, owner =
    unpack(redis.call('HMGET', KEY.batch .. batch, 'accepted', 'gone', 'do', 'labels', 'events_owed', 'key'))
  if doing == 'commit' or tonumber(events or 0) > 0 or tonumber(accepted or 0) > tonumber(deleted or 0) then return end
  if labels then index_labels(KEY.grouped, labels, batch) end
  if events then
    for _, id in ipairs(redis.call('LRANGE', KEY.batch_events .. batch, 0, -1)) do forget_event(id) end
    redis.call('DEL', KEY.batch_events .. batch)
  end
  redis.call('DEL', KEY.batch .. batch)
  redis.call('UNLINK', KEY.members .. batch, KEY.batch_saves .. batch, KEY.batch_unsaved .. batch)
  for mark in string.gmatch(MARKS, '.') do redis.call('UNLINK', KEY.marked .. mark .. '|' .. batch) end
  redis.call('ZREM', KEY.batches, batch)
  redis.pcall('ZREM', KEY.batches_of .. (owner or ''), batch)
  redis.call('ZREM', KEY.sweeps, batch)
  redis.call('ZREM', KEY.batch_ends, batch)
  list_pause(batch, false)
  closed = closed + 1
end
for _, batch in ipairs(redis.call('ZRANGEBYSCORE', KEY.batches, '-inf', whole(before), 'LIMIT', 0, limit)) do
  pcall(close, batch) -- a damaged one stays; the audit reports it
end
local day = redis.call('ZRANGEBYSCORE', KEY.days, '-inf', day_of(now) - ARGV[3], 'LIMIT', 0, 1)[1]
local function forget_day()
  local past = 0
  local fields = redis.call('HGETALL', KEY.spent .. day)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == ENTRY.cost then past = past + fields[i + 1] end
  end
  redis.call('HINCRBY', KEY.totals, 'past', whole(past))
  redis.call('DEL', KEY.spent .. day, KEY.spent_labels .. day)
  redis.call('ZREM', KEY.days, day)
end
if day then pcall(forget_day) end
return {forgotten, closed}
