-- Accepting jobs: records, batches, labels, the limit of unfinished jobs.

-- Note the producer of a new job or batch, for an administrator who names an id without its producer. A process of
-- version 1 does not find what this version records, and would buy it again: from now on it refuses work. So from now on,
-- the time `at`, nothing is accepted that is in no index of its owner.
local function note_owner(id, at, indexed_from)
  local owner = string.match(id, OWNER_MARK .. '(.*)$')
  if not owner then return end
  redis.call('SADD', KEY.producers, owner)
  if not epoch().newer_only then redis.call('HSETNX', KEY.epoch, 'lost', NEWER_ONLY) end
  if indexed_from == 0 then redis.call('HSET', KEY.totals, 'indexed_from', whole(at)) end
end

-- Decode the facts of a job to accept (jobs.new_job). The lines of a batch mostly have the same text, so it is decoded
-- once.
local decoded = {}
local function facts_of(text)
  decoded[text] = decoded[text] or cjson.decode(text)
  return decoded[text]
end

-- Enter an id into the indexes of its labels, at a time; without a time, remove it.
local function index_labels(family, labels, id, at)
  for name, value in pairs(facts_of(labels)) do
    if at then redis.call('ZADD', family .. name .. '=' .. value, at, id)
    else redis.call('ZREM', family .. name .. '=' .. value, id) end
  end
end

-- Return the id under which version 1 recorded a job: without the producer's name (jobs/producer_ids.py); nil: it did not.
local function earlier_id(id)
  local given, owner = string.match(id, '^([^' .. OWNER_MARK .. ']*)' .. OWNER_MARK .. '(.*)$')
  if not given then return nil end
  local stored = redis.pcall('HMGET', KEY.job .. given, FIELD.state, FIELD.batch, FIELD.owner)
  local job = RECORD{batch = stored[2] or nil, owner = stored[3] or nil}
  return stored[1] and owner_of_job(job) == owner and given or nil
end

-- Return the id under which a job is recorded, its own or that of version 1; nil: it is not.
local function recorded_id(id)
  if redis.call('EXISTS', KEY.job .. id) == 1 then return id end
  return earlier_id(id)
end

-- Return what a request is under the id of a recorded job: known (the same, of a producer whose jobs the caller may
-- know) or conflict; nil: no job has the id.
local function find_recorded(id, text, caller)
  local recorded = recorded_id(id)
  if not recorded then return nil end
  return has_request(recorded, text) and is_job_of(recorded, caller) and 'known' or 'conflict'
end

-- Write many members of one key by few commands. Lua passes only so many arguments.
local function write_all(command, key, values)
  for from = 1, #values, 1000 do redis.call(command, key, unpack(values, from, math.min(from + 999, #values))) end
end

-- Accept jobs of a batch (or of none), each given as {id, request, facts}: record, index, alarm, place in the queue,
-- membership. `free`: how many new ones are allowed; nil: no limit. `caller`: ANYONE to whom jobs of other producers are
-- known. Returns an outcome for each (created | known | conflict | imageless: an image that it names is not stored
-- | full), and how many were created.
local function accept(batch, specs, now, recheck, free, caller)
  local created, before, indexed_from = next_time(now)
  local class = batch ~= '' and redis.call('HGET', KEY.batch .. batch, 'class') or nil
  local outcomes, count, seen, queued, uses, classes, held = {}, 0, {}, {}, {}, {}, {}
  local places, alarms, members = {}, {}, {}
  for _, spec in ipairs(specs) do
    local id, text, facts = spec[1], spec[2], facts_of(spec[3])
    local named = images_in(text)
    local recorded = seen[id] and id or recorded_id(id)
    if recorded then
      local owner = batch ~= '' and batch_of(batch).owner or facts.owner or ''
      local is_known = has_request(recorded, text)
        and is_job_of(recorded, caller == ANYONE and caller or owner)
      outcomes[#outcomes + 1] = is_known and 'known' or 'conflict'
    elseif not all_stored(named, caller or batch ~= '' and batch_of(batch).owner or facts.owner) then
      outcomes[#outcomes + 1] = 'imageless'
    elseif free and count >= free then
      outcomes[#outcomes + 1] = 'full'
    else
      seen[id] = true
      local at = whole(created + count)
      local job = RECORD{id = id, state = 'queued', model = facts.model, created_at = at, images = facts.images,
        resolution = facts.resolution, pool = facts.pool, priority = facts.priority or class}
      if facts.expires_in then job.expires_at = whole(now + facts.expires_in) end
      if job.priority == '1' then job.priority = nil end
      if batch ~= '' then job.batch = batch else job.owner = facts.owner end
      job.size = whole(#text + #(facts.labels or '') + RECORD_SIZE)
      local owner = owner_of_job(job)
      held[owner] = held[owner] or {0, 0, at}
      held[owner][1], held[owner][2], held[owner][4] = held[owner][1] + 1, held[owner][2] + job.size, at
      local record = {FIELD.state, 'queued', FIELD.model, job.model, FIELD.created_at, at, FIELD.updated_at, at}
      local function set(field, value)
        if value then record[#record + 1] = field; record[#record + 1] = value end
      end
      set(FIELD.images, facts.images)
      set(FIELD.owed_at_end, facts.owed_at_end)
      set(FIELD.only_begun, facts.only_begun)
      set(FIELD.batch, job.batch)
      set(FIELD.owner, job.owner)
      set(FIELD.pool, job.pool)
      set(FIELD.priority, job.priority)
      set(FIELD.resolution, facts.resolution)
      set(FIELD.expires_at, job.expires_at)
      set(FIELD.size, job.size)
      set(FIELD.names_images, next(named) and '1')
      set(FIELD.version, VERSION > 1 and VERSION)
      for hash, times in pairs(named) do uses[hash] = (uses[hash] or 0) + times end
      redis.call('HSET', KEY.job .. id, unpack(record))
      redis.call('SET', KEY.text .. id, text)
      if facts.labels then
        redis.call('SET', KEY.labels .. id, facts.labels)
        guarded(id, now, function() index_labels(KEY.labelled, facts.labels, id, at) end)
      end
      members[#members + 1] = id
      places[#places + 1], places[#places + 2] = at, id
      if not facts.delay then
        local queue = queue_of(job)
        queued[queue] = queued[queue] or {}
        table.insert(queued[queue], at)
        table.insert(queued[queue], id)
      end -- else it joins the queue at that time
      alarms[#alarms + 1], alarms[#alarms + 2] = whole(recheck_at(job, now, facts.delay or recheck)), id
      publish_change(job, '', now, facts.delay and whole(now + facts.delay))
      classes[class_of(job)] = (classes[class_of(job)] or 0) + 1
      count = count + 1
      outcomes[#outcomes + 1] = 'created'
    end
  end
  write_all('ZADD', KEY.alarms, alarms)
  write_all('ZADD', KEY.state .. 'queued', places)
  for queue, waiting in pairs(queued) do write_all('ZADD', KEY.ready .. queue, waiting) end
  if batch ~= '' then write_all('RPUSH', KEY.members .. batch, members) end
  count_uses(uses, 1, now)
  for owner, more in pairs(held) do
    count_held(KEY.unfinished, owner, more[1])
    count_held(KEY.stored, owner, more[2])
    note_span(owner, more[3], more[4], before)
  end
  if count > 0 then
    note_owner(specs[1][1], created, indexed_from)
    redis.call('HSET', KEY.totals, 'last', whole(created + count - 1))
    if batch ~= '' then
      redis.call('HINCRBY', KEY.batch .. batch, 'accepted', count)
      redis.call('HINCRBY', KEY.batch .. batch, 'queued', count)
      for each, more in pairs(classes) do count_unfinished(batch, each, more) end
    end
  end
  for queue, waiting in pairs(queued) do
    local pool, class_of_it = split_queue(queue)
    if batch ~= '' then note_place(batch, pool .. '|' .. class_of_it) end
    redis.call('HSETNX', KEY.pools, pool, '')
    count_waiting(queue, #waiting / 2)
  end
  if batch ~= '' and count > 0 and batch_of(batch).hold then pause_until_approved(batch) end
  return outcomes, count
end

-- Return how many more jobs a producer may add, by the limits in its room (jobs.room, as JSON); nil: no limit (''). Jobs
-- of a committed upload count, although some have no record yet (commit.lua).
local function free_places(text)
  if text == '' then return nil end
  local room, held, all = cjson.decode(text), {}, 0
  local flat = redis.pcall('HGETALL', KEY.unfinished)
  for i = 1, #flat, 2 do held[flat[i]] = tonumber(flat[i + 1]) end
  for state in pairs(ALLOWED) do
    if not FINAL[state] then all = all + redis.call('ZCARD', KEY.state .. state) end
  end
  for _, batch in ipairs(redis.call('ZRANGE', KEY.sweeps, 0, -1)) do
    local action, token, owner = unpack(redis.call('HMGET', KEY.batch .. batch, 'do', 'only', 'key'))
    if action == 'commit' then
      local staged = redis.call('LLEN', KEY.staged .. token)
      all, held[owner or ''] = all + staged, (held[owner or ''] or 0) + staged
    end
  end
  local own, free = held[room.owner] or 0, math.huge
  if room.most then
    free = room.most - all
    for owner, part in pairs(room.kept) do
      if owner ~= room.owner then free = free - math.max(0, part - (held[owner] or 0)) end
    end
    free = math.max(free, (room.kept[room.owner] or 0) - own)
  end
  if room.own then free = math.min(free, room.own - own) end
  return math.max(0, free)
end

-- Create a batch, unless it exists. `options`: fields of its hash as JSON (jobs.new_job), which hold from now on;
-- `asked` keeps the text. Each batch and each job has a creation time of its own, because lists continue from a time.
local function open_batch(batch, now, options)
  local key = KEY.batch .. batch
  if redis.call('HEXISTS', key, 'created') == 1 then return end
  local fields, at, _, indexed_from = cjson.decode(options), next_time(now)
  at = whole(at)
  redis.call('HSET', KEY.totals, 'last', at)
  redis.call('HSET', key, 'created', at, 'accepted', 0, 'asked', options)
  for field, value in pairs(fields) do redis.call('HSET', key, field, value) end
  redis.call('ZADD', KEY.batches, at, batch)
  redis.pcall('ZADD', KEY.batches_of .. (fields.key or ''), at, batch)
  note_owner(batch, at, indexed_from)
  if fields.labels then index_labels(KEY.grouped, fields.labels, batch, at) end
  if fields.hold then pause_batch(batch, 'approval') end
end
