-- Receivers of notifications (jobs/receivers.py): places under way, circuit breakers, and notifications that wait.
-- A place is an entry `<owner>|<receiver>|<job id>` of one sorted set, by the end of its lease. Saves (saves.lua) have
-- places of their own, with the lane as receiver.

-- Count the places under way in a sorted set, without those whose lease is over. Returns {all, by owner, by `<owner>|<receiver>`, and
-- the entries themselves}.
local function count_places(key, now)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now))
  local places = {all = 0, owner = {}, receiver = {}, has = {}}
  for _, entry in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local name, owner = string.match(entry, '^(([^|]*)|[^|]*)|')
    places.all, places.has[entry] = places.all + 1, true
    places.owner[owner] = (places.owner[owner] or 0) + 1
    places.receiver[name] = (places.receiver[name] or 0) + 1
  end
  return places
end

-- Return whether an owner may have one more place. It may have as many as stay free, so a newcomer always finds some,
-- and an owner that is alone uses half of all.
local function owner_has_room(places, owner, limit) return (places.owner[owner] or 0) < limit - places.all end

-- Return whether a receiver may have one more place: 'granted' | 'waits' | 'open', with the µs for which its breaker
-- stays open | 'disabled'.
local function ask_receiver(places, name, now)
  local stored = redis.call('HMGET', KEY.receiver .. name, 'failures', 'open_until', 'accepted', 'disabled_at')
  if stored[4] then return 'disabled', 0 end
  local failures, open_until, busy = tonumber(stored[1] or 0), tonumber(stored[2] or 0), places.receiver[name] or 0
  if failures >= RECEIVER_FAILURES then
    if open_until > now then return 'open', open_until - now end
    if busy > 0 then return 'open', NOTIFICATION_LEASE end -- the probe is under way
    return 'granted', 0
  end
  local most = MOST_TO_ONE
  if failures > 0 or not stored[3] then most = RECEIVER_FAILURES - failures end
  return busy < most and 'granted' or 'waits', 0
end

-- Take a job off the waiting notifications of a receiver.
local function stop_waiting(owner, receiver, id)
  local waiting = KEY.waiting .. owner .. '|' .. receiver
  if redis.call('ZREM', waiting, id) == 0 or redis.call('EXISTS', waiting) == 1 then return end
  redis.call('ZREM', KEY.waiting_receivers .. owner, receiver)
  if redis.call('EXISTS', KEY.waiting_receivers .. owner) == 0 then redis.call('ZREM', KEY.waiting_owners, owner) end
end

-- Give a job a place.
local function take_place(places, owner, receiver, id, now)
  local name = owner .. '|' .. receiver
  local entry = name .. '|' .. id
  redis.call('ZADD', KEY.notifying, whole(now + NOTIFICATION_LEASE), entry)
  if not places.has[entry] then
    places.all, places.has[entry] = places.all + 1, true
    places.owner[owner] = (places.owner[owner] or 0) + 1
    places.receiver[name] = (places.receiver[name] or 0) + 1
  end
  stop_waiting(owner, receiver, id)
end

-- Return a notification that is owed: of a job, as `read_job` reads it, or of an event of a batch; nil: it is not owed.
-- `fence`: of deliveries; `sender`: of the claim whose worker sends it.
local function owed_notification(id, read_job)
  if string.sub(id, 1, 1) == '!' then
    local event = read_event(id)
    if not event or not is_owed(event.state) then return nil end
    return {id = id, owner = event.owner, fence = event.fence, sender = event.sender}
  end
  local job = read_job(id)
  if not job or not job.owed or not string.find(job.owed, 'n', 1, true) then return nil end
  return {id = id, of = job, owner = owner_of_job(job), fence = job.delivery_fence or '0', sender = job.notify_fence}
end

-- Note who sends a notification; false: nobody does.
local function set_sender(notification, sender)
  if notification.of then
    save(notification.of, RECORD{notify_fence = sender})
  elseif sender then
    redis.call('HSET', KEY.event .. notification.id, 'sender', sender)
  else
    redis.call('HDEL', KEY.event .. notification.id, 'sender')
  end
end

local function schedule_notification(notification, at, now)
  if notification.of then
    schedule_kind(notification.of, 'n', at, now)
  else
    redis.call('ZADD', KEY.event_alarms, whole(at), notification.id)
  end
end

-- Give a place to a notification that waits: of the owner, and there of the receiver, that was considered least
-- recently. Returns its job id, or nil. It considers a bounded number of both; the others are next.
local function start_waiting(places, limit, now)
  for _, owner in ipairs(redis.call('ZRANGE', KEY.waiting_owners, 0, 19)) do
    redis.call('ZADD', KEY.waiting_owners, whole(now), owner)
    for _, receiver in ipairs(redis.call('ZRANGE', KEY.waiting_receivers .. owner, 0, 9)) do
      if not owner_has_room(places, owner, limit) then break end
      redis.call('ZADD', KEY.waiting_receivers .. owner, whole(now), receiver)
      local name = owner .. '|' .. receiver
      if ask_receiver(places, name, now) == 'granted' then
        for _, id in ipairs(redis.call('ZRANGE', KEY.waiting .. name, 0, 9)) do
          local notification = owed_notification(id, read)
          if notification then
            take_place(places, owner, receiver, id, now)
            -- Whoever is given its id sends it. If that worker dies, the alarm replaces the id.
            schedule_notification(notification, now + NOTIFICATION_LEASE, now)
            set_sender(notification, false)
            local job = notification.of
            if job and #job.owed > 1 then save(job, RECORD{notify_at = now}) end
            return id
          end
          stop_waiting(owner, receiver, id)
        end
      end
    end
  end
end

-- Record whether a receiver accepted a notification. `random` in [0, 1) spreads the probes of several receivers. One that
-- fails for `longest` µs (0: any time) is disabled.
local function record_answer(owner, receiver, accepted, random, now, why, longest)
  local key, all = KEY.receiver .. owner .. '|' .. receiver, KEY.receivers .. owner
  redis.call('ZADD', all, whole(now), receiver)
  redis.call('ZREMRANGEBYSCORE', all, '-inf', whole(now - 1000 * RECEIVER_KEPT))
  redis.call('ZREMRANGEBYRANK', all, 0, -RECEIVERS_KEPT - 1)
  if accepted then
    redis.call('DEL', key)
    redis.call('ZREM', KEY.open_receivers, owner .. '|' .. receiver)
    redis.call('HSET', key, 'accepted', whole(now))
  else
    redis.call('HSETNX', key, 'failing_since', whole(now))
    redis.call('HSET', key, 'failed_at', whole(now), 'error', why)
    local stored = redis.call('HMGET', key, 'failures', 'open_until', 'pause', 'failing_since')
    local failures, pause = tonumber(stored[1] or 0), tonumber(stored[3] or RECEIVER_PAUSE / 2)
    if longest > 0 and failures >= RECEIVER_FAILURES and now - tonumber(stored[4]) >= longest then
      redis.call('HSETNX', key, 'disabled_at', whole(now))
    end
    if failures < RECEIVER_FAILURES then
      failures = redis.call('HINCRBY', key, 'failures', 1)
    elseif tonumber(stored[2] or 0) > now then
      failures = 0 -- it was under way when the breaker opened
    end
    if failures >= RECEIVER_FAILURES then
      pause = math.min(pause * 2, LONGEST_RECEIVER_PAUSE)
      redis.call('HSET', key, 'pause', whole(pause), 'open_until', whole(now + pause / 2 + pause / 2 * random))
      redis.call('ZADD', KEY.open_receivers, whole(now), owner .. '|' .. receiver)
    end
  end
  redis.call('PEXPIRE', key, RECEIVER_KEPT)
  redis.call('ZREMRANGEBYSCORE', KEY.open_receivers, '-inf', whole(now - 1000 * RECEIVER_KEPT))
end
