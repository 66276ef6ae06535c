-- Shared by every verb; put in front of it, below `_record.lua` and `_money.lua`, above `_lanes.lua`.

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

-- Waiting jobs stand in one queue a batch (those without a batch in one a producer's key), pool of lanes and class; the
-- queues that may be admitted from stand in `queues`, one a place (pool and class), at their start tag (admit.lua). A
-- batch is halted, or goes on, by its queues leaving or joining `queues`, in one step however many wait in them; with
-- one queue for all, a million paused jobs would have to be carried aside and back, or stepped over at each admission.
local function place_of(job) return (job.P or '') .. '|' .. (job.Y or '1') end
local function queue_of(job)
  return place_of(job) .. '|' .. (job.b and 'b' .. job.b or 'k' .. (job.K or ''))
end
-- Neither a pool nor a class has a '|' in its name.
local function parts(queue)
  local pool, class, kind, name = string.match(queue, '^([^|]*)|([^|]*)|(.)(.*)$')
  return pool, class, kind, name
end

local halts = {}
local function halted(batch)
  if halts[batch] == nil then
    local paused, sweep = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'do'))
    halts[batch] = (paused or sweep == 'cancel') and true or false
  end
  return halts[batch]
end

-- Whether a queue takes part follows from whether it has jobs, is not halted and not set aside at a cap. One that comes
-- (back) starts at the virtual time of its place, but not before the end of what it had last: leaving and coming back
-- gains it nothing.
local function take_part(queue, may)
  local pool, class, kind, name = parts(queue)
  local place = pool .. '|' .. class
  local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
  local has = may and redis.call('EXISTS', KEY.ready .. queue) == 1
  if (tag and true or false) == has then return end
  if has and redis.call('ZSCORE', KEY.capped, queue) then return end
  local owner, weight = owner_of(kind, name)
  if has then
    local last = tonumber(redis.call('ZSCORE', KEY.tags .. place, queue) or 0)
    redis.call('ZADD', KEY.queues .. place, math.max(number(KEY.pool .. pool, 'v' .. class), last), queue)
    redis.call('ZREM', KEY.tags .. place, queue)
    redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, weight)
  else
    redis.call('ZREM', KEY.queues .. place, queue)
    redis.call('ZADD', KEY.tags .. place, tag, queue)
    if redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, -weight) == 0 then
      redis.call('HDEL', KEY.pool .. pool, class .. '|' .. owner)
    end
    if redis.call('EXISTS', KEY.queues .. place) == 0 then
      -- Nobody is left to be compared with: all begin anew at the last finish tag.
      redis.call('HSET', KEY.pool .. pool, 'v' .. class, redis.call('ZREVRANGE', KEY.tags .. place, 0, 0, 'WITHSCORES')[2])
      redis.call('DEL', KEY.tags .. place)
    end
  end
end

-- A queue has so many jobs more.
local function grown(queue, by)
  if by == 0 then return end
  local pool, _, kind, name = parts(queue)
  if kind == 'b' and halted(name) then return end
  redis.call('HINCRBY', KEY.pool .. pool, 'ready', by)
  take_part(queue, true)
end

-- A queue that waits for money, until it is looked at again.
local function set_aside(queue, till)
  redis.call('ZADD', KEY.capped, whole(till), queue)
  take_part(queue, false)
end

-- After a change to what halts a batch: `was` is what `halted` said before. Its hash has the places of its queues. Those
-- that were set aside are looked at again at once.
local function halt_or_go_on(batch, was)
  halts[batch] = nil
  local now = halted(batch)
  for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do
    local place = string.match(field, '^at:(.*)$')
    if place then
      local queue, pool = place .. '|b' .. batch, string.match(place, '^[^|]*')
      local aside = redis.call('ZREM', KEY.capped, queue) == 1
      if now ~= was then
        local waiting = redis.call('ZCARD', KEY.ready .. queue)
        if waiting > 0 then redis.call('HINCRBY', KEY.pool .. pool, 'ready', now and -waiting or waiting) end
      end
      if aside or now ~= was then take_part(queue, not now) end
    end
  end
end

-- A batch's hash notes where its jobs wait.
local function note_place(batch, place) redis.call('HSETNX', KEY.batch .. batch, 'at:' .. place, 1) end

local function ready(job)
  if job.H then
    -- Paused by its producer: it waits outside, and is due now.
    if job.H ~= '1' then save(job, {H = '1'}) end
    return
  end
  if job.b then note_place(job.b, place_of(job)) end
  local queue = queue_of(job)
  grown(queue, redis.call('ZADD', KEY.ready .. queue, job.c, job.id))
end

local function unready(job)
  local queue = queue_of(job)
  grown(queue, -redis.call('ZREM', KEY.ready .. queue, job.id))
end

local function leave_window(job, change)
  if job.w then
    redis.call('HINCRBY', KEY.lane .. job.w, 'window', -images(job))
    change.w = false
  end
end

-- An admitted job that nobody has claimed waits again.
local function put_back(job)
  local change = {}
  release(job, change)
  leave_window(job, change)
  save(job, change)
  ready(job)
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

-- Images are kept once, whoever names them (jobs.images). `uses` counts how often unfinished jobs name each, in their
-- texts: from there an image stays as long as it may have to be sent, and can go once none needs it (images_old.lua).
local function find_images(value, found)
  if type(value) == 'table' then
    for _, part in pairs(value) do find_images(part, found) end
  elseif type(value) == 'string' then
    local hash = #value == 77 and string.match(value, '^image:sha256:(%x+)$')
    if hash then found[hash] = (found[hash] or 0) + 1 end
  end
end

-- hash → how often a request names it; a prompt names none, whatever it says.
local function images_in(text)
  if not string.find(text, '"image:sha256:', 1, true) then return {} end
  local params, found = cjson.decode(text).params, {}
  params.prompt = nil
  find_images(params, found)
  return found
end

local function are_there(uses)
  for hash in pairs(uses) do
    if not redis.call('ZSCORE', KEY.images, hash) then return false end
  end
  return true
end

-- Those that a staged upload names; while it is taken in they count as named once more.
local function pinned_images(token)
  local uses = {}
  for _, hash in ipairs(redis.call('SMEMBERS', KEY.pinned .. token)) do uses[hash] = 1 end
  return uses
end

local function use_images(uses, by, now)
  for hash, times in pairs(uses) do
    if redis.call('HINCRBY', KEY.uses, hash, by * times) <= 0 then
      redis.call('HDEL', KEY.uses, hash)
      redis.call('ZADD', KEY.images, 'XX', whole(now), hash)
    elseif by > 0 then
      redis.call('ZADD', KEY.images, 'XX', '+inf', hash)
    end
  end
end

-- It is needed at this moment, by someone who is not a job.
local function need_image(hash, now)
  local score = redis.call('ZSCORE', KEY.images, hash)
  if score and score ~= 'inf' then redis.call('ZADD', KEY.images, 'XX', whole(now), hash) end
end

local function drop_image(hash, kept, now)
  redis.call('ZREM', KEY.images, hash)
  redis.call('HDEL', KEY.kept, hash)
  redis.call('HINCRBY', KEY.totals, 'image_bytes', -kept.size)
  redis.call('ZADD', KEY.going, whole(now), kept.object)
end

-- Of a job that names some (I); those of one that has ended may have gone.
local function images_of(job) return images_in(redis.call('GET', KEY.text .. job.id)) end
local function has_images(job) return not job.I or are_there(images_of(job)) end

-- The one way in which a state changes: record, index, batch counters, slots, uses of images, alarm and the stream of
-- changes together.
local function move(job, to, change, now, at)
  local from, held, held_by = job.s, HOLDS[phase(job)], lane_of(job)
  local stands = to
  if FINAL[to] then stands = change.p end
  if stands == nil then stands = job.p end
  local holds = HOLDS[stands]
  if from ~= to or not FINAL[from] then
    if not ALLOWED[from][to] then error('no transition from ' .. from .. ' to ' .. to .. ' for ' .. job.id) end
  end
  if from == 'queued' then
    if to ~= 'submitting' then release(job, change) end
    leave_window(job, change)
    unready(job)
    if to ~= 'queued' then change.H = false end
  end
  if held and not holds then
    redis.call('HINCRBY', held_by, 'slots', -images(job))
    release(job, change)
  end
  change.s, change.u = to, now
  save(job, change)
  if holds and not held then
    local priced = {}
    redis.call('HINCRBY', lane_of(job), 'slots', images(job))
    reserve(job, job.L or DEFAULT_LANE, priced)
    save(job, priced)
  end
  alarm(job, at)
  if from == to then return end
  if job.I and FINAL[from] ~= FINAL[to] then use_images(images_of(job), FINAL[to] and -1 or 1, now) end
  redis.call('ZREM', KEY.state .. from, job.id)
  redis.call('ZADD', KEY.state .. to, job.c, job.id)
  if job.b then
    redis.call('HINCRBY', KEY.batch .. job.b, from, -1)
    redis.call('HINCRBY', KEY.batch .. job.b, to, 1)
    if FINAL[to] ~= FINAL[from] then count_unfinished(job.b, class_of(job), FINAL[to] and -1 or 1) end
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

-- An attempt that may have reached an account must not go out through another one: only the same account would notice
-- that it has it already.
local function stay(job, change)
  local lanes = redis.call('HGET', KEY.pools, job.P or '')
  if lanes and string.find(lanes, ' ', 1, true) then
    change.P = '@' .. (job.L or DEFAULT_LANE)
    redis.call('HSETNX', KEY.pools, change.P, job.L or DEFAULT_LANE)
  end
end

-- When to look at a waiting job, at the latest.
local function recheck_at(job, now, recheck)
  local at = now + recheck
  if job.E and attempt(job) == 1 then at = math.min(at, tonumber(job.E)) end
  return at
end

-- What is owed when a job ends. A second end (a late result) is told to those who asked to be notified, but does not
-- finish a Celery message twice; one that the first end still owes stays owed.
local function owed(job, again)
  local owing = job.o or ''
  if again and not string.find(job.g or '', 'c', 1, true) then owing = string.gsub(owing, 'c', '') end
  return owing ~= '' and owing or false
end

-- One kind of delivery is made. Returns 'clear' when nothing is owed any more, else 'owed'.
local function deliver_done(job, kind)
  local left = string.gsub(job.g, kind, '')
  if left ~= '' then
    -- The one who makes the deliveries goes on with the next; its lease, or the time of another's next try, stands.
    save(job, {g = left})
    return 'owed'
  end
  local look = job.p and tonumber(job.z) or false
  save(job, {g = false, h = false, z = false, i = false})
  alarm(job, look)
  return 'clear'
end

-- What stands for a Celery message: a repeat of it has the same one.
local function mark_of(continuation) return string.sub(redis.sha1hex(continuation), 1, 16) end

-- A new end: who is delivering an older one has no say any more.
local function outdate_deliveries(job) return job.j and tonumber(job.j) + 1 or nil end

-- The provider knows nothing of the attempt of a job that is over for us: free its slots, keep only deliveries.
local function let_go(job, now)
  local change = {p = false, d = false, l = false, x = false, v = false, z = false, i = false}
  move(job, job.s, change, now, job.g and tonumber(job.i) or false)
end

-- A stale fence means that another holder has taken over; '' means that no claim is needed.
local function fenced(job, fence) return fence == '' or (job.f or '0') == fence end

-- Whether jobs of a pool wait for admission.
local function waits(pool)
  local queues = KEY.queues .. pool
  return redis.call('EXISTS', queues .. '|0', queues .. '|1', queues .. '|2') > 0
end

-- Whether nothing may be sent through a lane: it is on hold, or its circuit breaker is open.
local function shut(name, now)
  local hold, open = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'open'))
  return open or tonumber(hold or 0) > now
end

-- Whether any lane of a pool could admit now. None need be told while jobs that it admitted are on their way: who
-- submits those looks for more.
local function open(lanes, now)
  if lanes == '' then return true end -- no worker has told yet
  for name in string.gmatch(lanes, '%S+') do
    if not shut(name, now) and number(KEY.lane .. name, 'window') <= 0 then return true end
  end
  return false
end

-- Whether to send a hint that jobs wait for admission; at most one is under way at a time.
local function wake(now)
  local pools = redis.call('HGETALL', KEY.pools)
  for i = 1, #pools, 2 do
    if waits(pools[i]) and open(pools[i + 1], now) then
      return redis.call('SET', KEY.wake, '1', 'NX', 'PX', HINT_MS) and 1 or 0
    end
  end
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
  change.r, change.k, change.h, change.j, change.E = false, false, false, outdate_deliveries(job), false
  if job.q then change.a = attempt(job) + 1 end
  if job.s == 'failed' and job.b then tally(job.b, redis.call('GET', KEY.result .. job.id), -1) end
  redis.call('DEL', KEY.result .. job.id, KEY.told .. job.id)
  move(job, 'queued', change, now, now + recheck)
  ready(job)
end

-- The facts of a job to accept (jobs.order): those of a batch's lines are mostly the same text.
local decoded = {}
local function facts_of(text)
  decoded[text] = decoded[text] or cjson.decode(text)
  return decoded[text]
end

-- Enter an id into the indexes of its labels, at that time; without one, take it out.
local function index_labels(family, labels, id, at)
  for name, value in pairs(facts_of(labels)) do
    if at then redis.call('ZADD', family .. name .. '=' .. value, at, id)
    else redis.call('ZREM', family .. name .. '=' .. value, id) end
  end
end

-- Accept jobs of a batch (or of none), each given as {id, text, facts}: record, index, alarm, place in the queue,
-- membership; new ones only as long as there is room for them, nil being any. Returns a word for each, created | known |
-- conflict | imageless (an image that it names is not there) | full, and how many were created.
local function accept(batch, specs, now, recheck, free)
  local created = math.max(now, number(KEY.totals, 'last') + 1)
  local class = batch ~= '' and redis.call('HGET', KEY.batch .. batch, 'class') or nil
  local words, count, seen, queued, uses, classes = {}, 0, {}, {}, {}, {}
  for _, spec in ipairs(specs) do
    local id, text, facts = spec[1], spec[2], facts_of(spec[3])
    local named = images_in(text)
    if seen[id] or redis.call('EXISTS', KEY.job .. id) == 1 then
      words[#words + 1] = redis.call('GET', KEY.text .. id) == text and 'known' or 'conflict'
    elseif not are_there(named) then
      words[#words + 1] = 'imageless'
    elseif free and count >= free then
      words[#words + 1] = 'full'
    else
      seen[id] = true
      local at = whole(created + count)
      local job = {id = id, s = 'queued', m = facts.m, c = at, n = facts.n, V = facts.V, P = facts.P, Y = facts.Y or class}
      if facts.expires then job.E = whole(now + facts.expires) end
      if job.Y == '1' then job.Y = nil end
      if batch ~= '' then job.b = batch else job.K = facts.K end
      local record = {'s', 'queued', 'm', job.m, 'c', at, 'u', at}
      local function with(field, value)
        if value then record[#record + 1] = field; record[#record + 1] = value end
      end
      with('n', facts.n)
      with('o', facts.o)
      with('b', job.b)
      with('K', job.K)
      with('P', job.P)
      with('Y', job.Y)
      with('V', facts.V)
      with('E', job.E)
      with('I', next(named) and '1')
      for hash, times in pairs(named) do uses[hash] = (uses[hash] or 0) + times end
      redis.call('HSET', KEY.job .. id, unpack(record))
      redis.call('SET', KEY.text .. id, text)
      if facts.l then
        redis.call('SET', KEY.labels .. id, facts.l)
        index_labels(KEY.labelled, facts.l, id, at)
      end
      redis.call('ZADD', KEY.state .. 'queued', at, id)
      if facts.delay then
        alarm(job, recheck_at(job, now, facts.delay)) -- it joins the queue then
      else
        local queue = queue_of(job)
        redis.call('ZADD', KEY.ready .. queue, at, id)
        queued[queue] = (queued[queue] or 0) + 1
        alarm(job, recheck_at(job, now, recheck))
      end
      changed(job, '')
      if batch ~= '' then redis.call('RPUSH', KEY.members .. batch, id) end
      classes[class_of(job)] = (classes[class_of(job)] or 0) + 1
      count = count + 1
      words[#words + 1] = 'created'
    end
  end
  use_images(uses, 1, now)
  if count > 0 then
    redis.call('HSET', KEY.totals, 'last', whole(created + count - 1))
    if batch ~= '' then
      redis.call('HINCRBY', KEY.batch .. batch, 'accepted', count)
      redis.call('HINCRBY', KEY.batch .. batch, 'queued', count)
      for each, more in pairs(classes) do count_unfinished(batch, each, more) end
    end
  end
  for queue, more in pairs(queued) do
    local pool, class_of_it = parts(queue)
    if batch ~= '' then note_place(batch, pool .. '|' .. class_of_it) end
    redis.call('HSETNX', KEY.pools, pool, '')
    grown(queue, more)
  end
  return words, count
end

-- Room for so many jobs more, where there may be `most` unfinished ones; nil for any number (''). Those that are accepted,
-- but not taken in yet (commit.lua), are there.
local function room(most)
  if most == '' then return nil end
  local free = tonumber(most)
  for state in pairs(ALLOWED) do
    if not FINAL[state] then free = free - redis.call('ZCARD', KEY.state .. state) end
  end
  for _, batch in ipairs(redis.call('ZRANGE', KEY.sweeps, 0, -1)) do
    local action, token = unpack(redis.call('HMGET', KEY.batch .. batch, 'do', 'only'))
    if action == 'commit' then free = free - redis.call('LLEN', KEY.staged .. token) end
  end
  return math.max(0, free)
end

-- `options`: fields of its hash as JSON (jobs.order), which hold from its first opening on; `asked` keeps them as they
-- were given. No two batches are created at the same time, nor a batch and a job: lists go on from a time.
local function open_batch(batch, now, options)
  local key = KEY.batch .. batch
  if redis.call('HEXISTS', key, 'created') == 1 then return end
  local fields, at = cjson.decode(options), whole(math.max(now, number(KEY.totals, 'last') + 1))
  redis.call('HSET', KEY.totals, 'last', at)
  redis.call('HSET', key, 'created', at, 'accepted', 0, 'asked', options)
  for field, value in pairs(fields) do redis.call('HSET', key, field, value) end
  redis.call('ZADD', KEY.batches, at, batch)
  if fields.labels then index_labels(KEY.grouped, fields.labels, batch, at) end
end

-- A job that had to be begun before a time that has passed: it ends, and nothing was sent that could be paid. One whose
-- earlier attempt failed has begun.
local function too_late(job, now) return job.E and attempt(job) == 1 and tonumber(job.E) <= now end

local function expire_unpaid(job, now)
  local change = {e = now, y = 'expires_in', g = owed(job), r = 'it was not begun within its expires_in'}
  move(job, 'expired', change, now, change.g and now or false)
end

-- How long a job is at the provider, and how long its images hold slots, on average over about the last sixteen
-- (jobs.progress). Called before the job leaves.
local function learn(job, now)
  if job.s ~= 'in_progress' then return end
  local took = now - tonumber(job.u)
  for field, value in pairs({took = took, work = took * images(job)}) do
    local before = tonumber(redis.call('HGET', lane_of(job), field) or value)
    redis.call('HSET', lane_of(job), field, whole(before + (value - before) / 16))
  end
end

local function arity(count)
  if #ARGV ~= count then error('expected ' .. count .. ' arguments, got ' .. #ARGV) end
end
