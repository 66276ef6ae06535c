-- Shared by every verb; put in front of it, below the generated KEY (jobs.keys), ALLOWED, HOLDS and FINAL (jobs.states)
-- and clock() (µs, Redis's own time). KEYS[1] is the prefix of all keys.
--
-- The record's fields are named in jobs.record. Times are whole µs, kept as decimal text: Lua would print 1.8e+15.

local function whole(number) return string.format('%.0f', number) end

local function load(id)
  local flat = redis.call('HGETALL', KEY.job .. id)
  if #flat == 0 then return nil end
  local job = {id = id}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  return job
end

-- Where the current attempt stands: the state itself, or what a cancelled or expired job left behind at the provider.
local function phase(job)
  if FINAL[job.s] then return job.p end
  return job.s
end

local function images(job) return tonumber(job.n or 1) end
local function attempt(job) return tonumber(job.a or 1) end
local function lane(field) return tonumber(redis.call('HGET', KEY.lane, field) or 0) end

-- Write some fields; false deletes one.
local function save(job, change)
  local set, del = {}, {}
  for field, value in pairs(change) do
    if value == false then
      if job[field] then del[#del + 1] = field end
      job[field] = nil
    else
      if type(value) == 'number' then value = whole(value) end
      set[#set + 1] = field
      set[#set + 1] = value
      job[field] = value
    end
  end
  if #set > 0 then redis.call('HSET', KEY.job .. job.id, unpack(set)) end
  if #del > 0 then redis.call('HDEL', KEY.job .. job.id, unpack(del)) end
end

-- An alarm: a time sets it, false clears it, nil leaves it.
local function alarm(job, at)
  if at then
    redis.call('ZADD', KEY.alarms, whole(at), job.id)
  elseif at == false then
    redis.call('ZREM', KEY.alarms, job.id)
  end
end

-- A job that is over for us may have two things left: the provider to be watched (p) and a delivery to be made (g). It
-- stands in the alarms once all the same, at the earlier time; `z` and `i` keep the two apart.
local function look_at(job, at)
  if FINAL[job.s] and job.g then
    save(job, {z = at})
    at = math.min(at, tonumber(job.i))
  end
  alarm(job, at)
end

local function deliver_at(job, at)
  if job.p then
    save(job, {i = at})
    at = math.min(at, tonumber(job.z))
  end
  alarm(job, at)
end

-- When someone looks at the provider next; nil without an alarm.
local function next_look(job)
  return tonumber(FINAL[job.s] and job.g and job.z or redis.call('ZSCORE', KEY.alarms, job.id) or nil)
end

-- Waiting jobs stand in one queue a batch (those without a batch share one), and the queues that may be admitted from
-- in `queues`, at the time of their oldest job: admission merges their heads and so keeps to the order of acceptance. A
-- batch is halted, or goes on, by leaving or joining `queues`, in one step however many wait in it; with one queue for
-- all, a million paused jobs would have to be carried aside and back, or stepped over at each admission.
local halts = {}
local function halted(batch)
  if batch == '' then return false end
  if halts[batch] == nil then
    local paused, sweep = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'do'))
    halts[batch] = (paused or sweep == 'cancel') and true or false
  end
  return halts[batch]
end

-- Put a queue where its oldest job belongs.
local function head(batch)
  local first = redis.call('ZRANGE', KEY.ready .. batch, 0, 0, 'WITHSCORES')
  if #first == 0 then
    redis.call('ZREM', KEY.queues, batch)
  else
    redis.call('ZADD', KEY.queues, first[2], batch)
  end
end

-- A queue has so many jobs more.
local function grown(batch, by)
  if by == 0 or halted(batch) then return end
  redis.call('HINCRBY', KEY.lane, 'ready', by)
  head(batch)
end

-- After a change to what halts a batch: `was` is what `halted` said before.
local function halt_or_go_on(batch, was)
  halts[batch] = nil
  if halted(batch) == was then return end
  local waiting = redis.call('ZCARD', KEY.ready .. batch)
  if was then
    grown(batch, waiting)
  elseif waiting > 0 then
    redis.call('ZREM', KEY.queues, batch)
    redis.call('HINCRBY', KEY.lane, 'ready', -waiting)
  end
end

local function ready(job)
  local batch = job.b or ''
  grown(batch, redis.call('ZADD', KEY.ready .. batch, job.c, job.id))
end

local function unready(job)
  local batch = job.b or ''
  grown(batch, -redis.call('ZREM', KEY.ready .. batch, job.id))
end

local function leave_window(job)
  if job.w then
    redis.call('HINCRBY', KEY.lane, 'window', -images(job))
    save(job, {w = false})
  end
end

-- Tell the stream of changes. Always the same fields, which Redis then stores once; enough to tell it without a look at
-- the record.
local function changed(job, from)
  redis.call('XADD', KEY.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', job.id, 'state', job.s, 'from', from,
    'model', job.m, 'created', job.c, 'batch', job.b or '', 'reason', job.r or '')
end

-- Count an end for the batch's rate (jobs.progress).
local function count_end(batch, now)
  local span = math.floor(now / 1000000 / RATE_SPAN)
  local field = 'r:' .. span % RATE_RING
  local before = tonumber(redis.call('HGET', KEY.batch .. batch, field) or 0)
  if math.floor(before / RATE_SHIFT) == span then
    redis.call('HINCRBY', KEY.batch .. batch, field, 1)
  else
    redis.call('HSET', KEY.batch .. batch, field, whole(span * RATE_SHIFT + 1))
  end
end

-- The one way in which a state changes: record, index, batch counters, slots, alarm and the stream of changes together.
local function move(job, to, change, now, at)
  local from, held = job.s, HOLDS[phase(job)]
  if from ~= to or not FINAL[from] then
    if not ALLOWED[from][to] then error('no transition from ' .. from .. ' to ' .. to .. ' for ' .. job.id) end
  end
  if from == 'queued' then
    leave_window(job)
    unready(job)
  end
  change.s, change.u = to, now
  save(job, change)
  local holds = HOLDS[phase(job)]
  if held and not holds then redis.call('HINCRBY', KEY.lane, 'slots', -images(job)) end
  if holds and not held then redis.call('HINCRBY', KEY.lane, 'slots', images(job)) end
  alarm(job, at)
  if from == to then return end
  redis.call('ZREM', KEY.state .. from, job.id)
  redis.call('ZADD', KEY.state .. to, job.c, job.id)
  if job.b then
    redis.call('HINCRBY', KEY.batch .. job.b, from, -1)
    redis.call('HINCRBY', KEY.batch .. job.b, to, 1)
    if FINAL[to] and not FINAL[from] and to ~= 'cancelled' then count_end(job.b, now) end
  end
  changed(job, from)
  if FINAL[to] and not FINAL[from] then redis.call('PUBLISH', KEY.ended .. job.id, to) end
end

-- Change where the attempt stands at the provider, whatever the producer has decided about the job meanwhile.
local function stand(job, where, change, now, at)
  if FINAL[job.s] then
    change.p = where
    move(job, job.s, change, now)
    look_at(job, at)
  else
    move(job, where, change, now, at)
  end
end

-- What is owed when a job ends. A second end (a late result) is told to those who asked to be notified, but does not
-- finish a Celery message twice; one that the first end still owes stays owed.
local function owed(job, again)
  local owing = job.o or ''
  if again and not string.find(job.g or '', 'c', 1, true) then owing = string.gsub(owing, 'c', '') end
  return owing ~= '' and owing or false
end

-- A new end: who is delivering an older one has no say any more.
local function outdate_deliveries(job) return job.j and tonumber(job.j) + 1 or nil end

-- The provider knows nothing of the attempt of a job that is over for us: free its slots, keep only deliveries.
local function let_go(job, now)
  local change = {p = false, d = false, l = false, x = false, v = false, z = false, i = false}
  move(job, job.s, change, now, job.g and tonumber(job.i) or false)
end

-- A stale fence means that another holder has taken over; '' means that no claim is needed.
local function fenced(job, fence) return fence == '' or (job.f or '0') == fence end

-- Whether to send a hint that jobs wait for admission; at most one is under way at a time, and none is needed while
-- admitted jobs are on their way: who submits those looks for more.
local function wake(now)
  if redis.call('ZCARD', KEY.queues) == 0 or lane('hold') > now or lane('window') > 0 then return 0 end
  if redis.call('SET', KEY.wake, '1', 'NX', 'PX', HINT_MS) then return 1 end
  return 0
end

-- The same for reconcile.
local function ring()
  if redis.call('SET', KEY.ring, '1', 'NX', 'PX', HINT_MS) then return 1 end
  return 0
end

-- How many of a batch failed, by error code: what a retry by code would take is known without a look at the jobs.
local function code_of(result)
  local readable, body = pcall(cjson.decode, result or '')
  local code = readable and type(body) == 'table' and type(body.error) == 'table' and body.error.code
  return type(code) == 'string' and #code <= 64 and code or ''
end

local function tally(batch, result, by)
  local field = 'x:' .. code_of(result)
  if redis.call('HINCRBY', KEY.batch .. batch, field, by) == 0 then redis.call('HDEL', KEY.batch .. batch, field) end
end

-- The producer gives up on an unfinished job. What may be running at the provider keeps its slots and is watched to its
-- end.
local function give_up(job, now)
  local change = {e = now, y = 'cancel', g = owed(job)}
  if job.s == 'queued' then
    change.r = false
    move(job, 'cancelled', change, now, change.g and now or false)
  else
    change.p = job.s
    -- The delivery is due now; the look at the provider, or the end of the lease, when it was.
    if change.g then change.z, change.i = next_look(job), now end
    move(job, 'cancelled', change, now, change.g and now or nil)
  end
end

-- A cancelled job's pictures may have come late. They are paid for, and another attempt would throw them away.
local function pictured(job)
  local result = job.s == 'cancelled' and redis.call('GET', KEY.result .. job.id)
  return result and cjson.decode(result).output ~= nil
end

-- Queue a job again that is over, at the provider too. An attempt that was sent is over: the next has a new external id.
local function try_again(job, now, recheck)
  local change = {e = false, y = false, g = false, q = false, t = false, d = false, l = false, x = false, v = false}
  change.r, change.k, change.h, change.j = false, false, false, outdate_deliveries(job)
  if job.q then change.a = attempt(job) + 1 end
  if job.s == 'failed' and job.b then tally(job.b, redis.call('GET', KEY.result .. job.id), -1) end
  redis.call('DEL', KEY.result .. job.id)
  move(job, 'queued', change, now, now + recheck)
  ready(job)
end

-- Accept jobs of a batch (or of none), each given as {id, text, model, n, owed, labels}: record, index, alarm, place in
-- the queue, membership. Returns a word for each, created | known | conflict, and how many were created.
local function accept(batch, specs, now, recheck)
  local created = math.max(now, lane('last') + 1)
  local words, count, seen = {}, 0, {}
  for _, spec in ipairs(specs) do
    local id, text, model, n, owing, labels = unpack(spec)
    if seen[id] or redis.call('EXISTS', KEY.job .. id) == 1 then
      words[#words + 1] = redis.call('GET', KEY.text .. id) == text and 'known' or 'conflict'
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
      words[#words + 1] = 'created'
    end
  end
  if count > 0 then
    redis.call('HSET', KEY.lane, 'last', whole(created + count - 1))
    if batch ~= '' then
      redis.call('HINCRBY', KEY.batch .. batch, 'accepted', count)
      redis.call('HINCRBY', KEY.batch .. batch, 'queued', count)
    end
    grown(batch, count)
  end
  return words, count
end

local function open_batch(batch, now)
  if redis.call('HSETNX', KEY.batch .. batch, 'created', whole(now)) == 1 then
    redis.call('HSET', KEY.batch .. batch, 'accepted', 0)
    redis.call('ZADD', KEY.batches, whole(now), batch)
  end
end

local function spend(job, cost)
  if cost == '' or cost == '0' then return end
  redis.call('HINCRBY', KEY.lane, 'spent', cost)
  if job.b then redis.call('HINCRBY', KEY.batch .. job.b, 'spent', cost) end
end

-- The provider took a submission after the last hold: the lane is open again.
local function lane_is_open(now)
  if lane('level') > 0 and lane('hold') <= now then redis.call('HDEL', KEY.lane, 'level', 'why', 'since') end
end

local function arity(count)
  if #ARGV ~= count then error('expected ' .. count .. ' arguments, got ' .. #ARGV) end
end
