-- Events of batches, of which the producer is notified at the batch's callback_url (jobs/store/batch_events.py). Each is a
-- hash: batch, owner, kind, why, url, at, fence (of deliveries), tries, error, state (as the field `notification` of a
-- job), sender (the fence of the claim whose worker sends it).

-- Read an event; nil: there is none.
local function read_event(id)
  local flat = redis.call('HGETALL', KEY.event .. id)
  if #flat == 0 then return nil end
  local event = {id = id}
  for i = 1, #flat, 2 do event[flat[i]] = flat[i + 1] end
  return event
end

local function is_owed(state) return state == 'p' or state == 'f' end

-- Change the state of an event. Its alarm is set while it is owed.
local function set_event_state(event, state, now)
  index_notification(event.id, event.owner, event.state, state, now)
  redis.call('HSET', KEY.event .. event.id, 'state', state)
  if is_owed(state) ~= is_owed(event.state) then
    redis.call('HINCRBY', KEY.batch .. event.batch, 'events_owed', is_owed(state) and 1 or -1)
  end
  if not is_owed(state) then redis.call('ZREM', KEY.event_alarms, event.id) end
  event.state = state
end

-- Delete an event and its log.
local function forget_event(id)
  local event = read_event(id)
  if event then
    set_event_state(event, 'd', 0)
    redis.call('ZREM', notifications_in('d', event.owner), id)
  end
  redis.call('DEL', KEY.event .. id, KEY.attempts .. id)
end

-- Return which of a batch's events, oldest first, is forgotten for a new one: the oldest that is not owed, else the oldest
-- of a pause, else the oldest.
local function least_needed(ids)
  local pause
  for _, id in ipairs(ids) do
    local state, kind = unpack(redis.call('HMGET', KEY.event .. id, 'state', 'kind'))
    if not is_owed(state) then return id end
    pause = pause or kind == 'paused' and id
  end
  return pause or ids[1]
end

-- Owe an event of a batch: '<kind>.<number>' under the batch. A batch without a callback_url has none; nor has one of
-- which no job was completed or has failed, since it costs nothing, unless the operator lists the hosts of its producer.
local function owe_event(batch, kind, now, why)
  guarded(batch, now, function()
    local key = KEY.batch .. batch
    local url, owner, free, completed, failed =
      unpack(redis.call('HMGET', key, 'callback', 'key', 'callback_free', 'completed', 'failed'))
    if not url or not free and tonumber(completed or 0) + tonumber(failed or 0) == 0 then return end
    local id = '!' .. batch .. '!' .. kind .. '.' .. whole(redis.call('HINCRBY', key, 'events', 1))
    local event = {id = id, batch = batch, owner = owner or ''}
    redis.call('HSET', KEY.event .. id, 'batch', batch, 'owner', event.owner, 'kind', kind, 'why', why or '', 'url', url,
      'at', whole(now), 'fence', 0, 'tries', 0, 'error', '')
    set_event_state(event, 'p', now)
    redis.call('ZADD', KEY.event_alarms, whole(now), id)
    local all = KEY.batch_events .. batch
    if redis.call('RPUSH', all, id) > EVENTS_KEPT then
      local gone = least_needed(redis.call('LRANGE', all, 0, -2))
      redis.call('LREM', all, 1, gone)
      forget_event(gone)
    end
  end)
end

-- Return what to do about results: '' nothing, '1' save them, '2' save them before anything is delivered. `given`:
-- what the caller knows; '' where it has no result store. Workers that have one announce it (announce_saves.lua), so
-- that in a deploy a process without one owes the saving, too.
local function saving_mode(given)
  if given ~= '' then return given end
  return redis.call('HGET', KEY.totals, 'saves') or ''
end

-- Return whether all jobs of a batch have ended, and its callback_url. While an upload is being enqueued they have not:
-- its end (sweep.lua) looks again, because of the field `missed`.
local function find_batch_end(batch, missed)
  local stored =
    redis.call('HMGET', KEY.batch .. batch, 'callback', 'do', 'accepted', 'completed', 'failed', 'cancelled', 'expired')
  if stored[2] == 'commit' then
    redis.call('HSET', KEY.batch .. batch, missed, 1)
    return false
  end
  local ended = 0
  for i = 4, 7 do ended = ended + tonumber(stored[i] or 0) end
  return ended > 0 and ended == tonumber(stored[3] or 0), stored[1]
end

-- Owe the event that no result of a batch is to be saved any more, after that of its end if that one has waited for it.
-- Call it when a job has left the batch's results to save.
local function note_batch_saved(batch, now)
  if redis.call('EXISTS', KEY.batch_saves .. batch) == 1 then return end
  local has_ended, url = find_batch_end(batch, 'saves_missed')
  if not has_ended or not url then return end
  if redis.call('HDEL', KEY.batch .. batch, 'end_waits') == 1 then owe_event(batch, 'finished', now) end
  owe_event(batch, 'saved', now)
end

-- Note that all jobs of a batch have ended, for notices to people, and owe the event. Call it when the last unfinished job
-- of a price class has ended.
local function note_batch_end(batch, now)
  local has_ended, url = find_batch_end(batch, 'end_missed')
  if not has_ended then return end
  guarded(batch, now, function()
    redis.call('ZADD', KEY.batch_ends, whole(now), batch)
    redis.call('ZREMRANGEBYRANK', KEY.batch_ends, 0, -BATCH_ENDS_KEPT - 1)
  end)
  if not url then return end
  local mode, is_saving = saving_mode(''), redis.call('EXISTS', KEY.batch_saves .. batch) == 1
  if mode == '2' and is_saving then
    redis.call('HSET', KEY.batch .. batch, 'end_waits', 1)
    return
  end
  redis.call('HDEL', KEY.batch .. batch, 'end_waits')
  owe_event(batch, 'finished', now)
  if mode ~= '' and not is_saving then owe_event(batch, 'saved', now) end
end
