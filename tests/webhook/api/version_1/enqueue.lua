redis.replicate_commands()
local KEY={alarms=KEYS[1]..'alarms',sweeps=KEYS[1]..'sweeps',totals=KEYS[1]..'totals',epoch=KEYS[1]..'epoch',capped=KEYS[1]..'capped',pools=KEYS[1]..'pools',admit_hint=KEYS[1]..'wake',batches=KEYS[1]..'batches',images=KEYS[1]..'images',uses=KEYS[1]..'uses',changes=KEYS[1]..'changes',job=KEYS[1]..'j:',text=KEYS[1]..'t:',labels=KEYS[1]..'l:',labelled=KEYS[1]..'y:',grouped=KEYS[1]..'z:',state=KEYS[1]..'s:',ready=KEYS[1]..'q:',queues=KEYS[1]..'f:',tags=KEYS[1]..'g:',pool=KEYS[1]..'p:',lane=KEYS[1]..'lane:',batch=KEYS[1]..'b:',staged=KEYS[1]..'u:',members=KEYS[1]..'m:'}
local ALLOWED={queued={cancelled=true,completed=true,expired=true,failed=true,in_doubt=true,queued=true,submitting=true},submitting={cancelled=true,completed=true,failed=true,in_doubt=true,in_progress=true,queued=true},in_doubt={cancelled=true,completed=true,failed=true,in_progress=true,queued=true},in_progress={cancelled=true,completed=true,expired=true,failed=true,queued=true},completed={},failed={queued=true},cancelled={queued=true},expired={completed=true,failed=true,queued=true}}
local FINAL={cancelled=true,completed=true,expired=true,failed=true}
local VERSION=1
local CHANGES_KEPT=20000
local HINT_MS=1000
local function clock() local t = redis.call('TIME'); return tonumber(t[1]) * 1000000 + tonumber(t[2]) end
local function whole(number) return string.format('%.0f', number) end
local function damaged(what, why) error('DAMAGED [' .. what .. '] ' .. why, 0) end
local function attempt_of(job) return tonumber(job.a or 1) end
local function to_number(key, field, stored)
  local value = tonumber(stored or 0)
  if not value or value ~= value or math.abs(value) == math.huge then
    damaged(key, 'its field ' .. field .. ' is no number')
  end
  return value
end
local function check_hash(key, answer)
  if type(answer) == 'table' and answer.err then
    if not string.find(answer.err, 'WRONGTYPE', 1, true) then error(answer.err, 0) end
    damaged(key, 'it is no hash')
  end
  return answer
end
local function read_number(key, field)
  return to_number(key, field, check_hash(key, redis.pcall('HGET', key, field)))
end
local function virtual_time(state, class)
  local value = tonumber(redis.call('HGET', state, 'v' .. class) or 0)
  return value and value == value and math.abs(value) ~= math.huge and value or 0
end
local batches = {}
local function batch_of(name)
  if not batches[name] then
    local broken = false
    local function count(text, absent)
      if not text then return absent end
      if string.find(text, '^%d+$') and #text <= 18 then return tonumber(text) end
      broken = true
      return absent
    end
    local stored = redis.pcall('HMGET', KEY.batch .. name, 'key', 'weight', 'cap', 'spent', 'unknown_costs', 'waived')
    if stored.err then
      if not string.find(stored.err, 'WRONGTYPE', 1, true) then error(stored.err, 0) end
      broken = true
    end
    local weight, cap, spent = count(stored[2], 1), count(stored[3], nil), count(stored[4], 0)
    local unknown = count(stored[5], 0) - count(stored[6], 0)
    batches[name] = {owner = stored[1] or '', weight = weight or 1, cap = cap, spent = spent or 0, unknown = unknown,
      broken = broken or weight == 0}
  end
  return batches[name]
end
local function owner_of(kind, name)
  if kind == 'k' then return name, 1 end
  return batch_of(name).owner, batch_of(name).weight
end
local function class_of(job) return job.m .. '|' .. (job.n or '1') .. '|' .. (job.V or '') end
local function count_unfinished(batch, class, by)
  if redis.call('HINCRBY', KEY.batch .. batch, 'c:' .. class, by) == 0 then
    redis.call('HDEL', KEY.batch .. batch, 'c:' .. class)
  end
end
local function place_of(job) return (job.P or '') .. '|' .. (job.Y or '1') end
local function queue_of(job)
  return place_of(job) .. '|' .. (job.b and 'b' .. job.b or 'k' .. (job.K or ''))
end
local function split_queue(queue)
  local pool, class, kind, name = string.match(queue, '^([^|]*)|([^|]*)|(.)(.*)$')
  return pool, class, kind, name
end
local halted_batches = {}
local function is_halted(batch)
  if halted_batches[batch] == nil then
    if batch_of(batch).broken then
      halted_batches[batch] = true
    else
      local paused, sweep = unpack(redis.call('HMGET', KEY.batch .. batch, 'paused', 'do'))
      halted_batches[batch] = (paused or sweep == 'cancel') and true or false
    end
  end
  return halted_batches[batch]
end
local function update_participation(queue, allowed)
  local pool, class, kind, name = split_queue(queue)
  local place = pool .. '|' .. class
  local tag = redis.call('ZSCORE', KEY.queues .. place, queue)
  local has = allowed and redis.call('EXISTS', KEY.ready .. queue) == 1
  if (tag and true or false) == has then return end
  if has and redis.call('ZSCORE', KEY.capped, queue) then return end
  local owner, weight = owner_of(kind, name)
  if has then
    local last = tonumber(redis.call('ZSCORE', KEY.tags .. place, queue) or 0)
    redis.call('ZADD', KEY.queues .. place, math.max(virtual_time(KEY.pool .. pool, class), last), queue)
    redis.call('ZREM', KEY.tags .. place, queue)
    redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, weight)
  else
    redis.call('ZREM', KEY.queues .. place, queue)
    redis.call('ZADD', KEY.tags .. place, tag, queue)
    if redis.call('HINCRBY', KEY.pool .. pool, class .. '|' .. owner, -weight) == 0 then
      redis.call('HDEL', KEY.pool .. pool, class .. '|' .. owner)
    end
    if redis.call('EXISTS', KEY.queues .. place) == 0 then
      redis.call('HSET', KEY.pool .. pool, 'v' .. class,
        redis.call('ZREVRANGE', KEY.tags .. place, 0, 0, 'WITHSCORES')[2])
      redis.call('DEL', KEY.tags .. place)
    end
  end
end
local function count_waiting(queue, by)
  if by == 0 then return end
  local pool, _, kind, name = split_queue(queue)
  if kind == 'b' and is_halted(name) then return end
  redis.call('HINCRBY', KEY.pool .. pool, 'ready', by)
  update_participation(queue, true)
end
local function note_place(batch, place) redis.call('HSETNX', KEY.batch .. batch, 'at:' .. place, 1) end
local function has_waiting(pool)
  local queues = KEY.queues .. pool
  return redis.call('EXISTS', queues .. '|0', queues .. '|1', queues .. '|2') > 0
end
local function is_closed(name, now)
  local hold, open = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'open'))
  if hold and not tonumber(hold) then damaged(KEY.lane .. name, 'its field hold is no number') end
  return open or tonumber(hold or 0) > now
end
local function any_lane_open(lanes, now)
  if lanes == '' then return true end
  for name in string.gmatch(lanes, '%S+') do
    if not is_closed(name, now) and read_number(KEY.lane .. name, 'window') <= 0 then return true end
  end
  return false
end
local function admit_hint(now)
  local pools = redis.call('HGETALL', KEY.pools)
  for i = 1, #pools, 2 do
    if has_waiting(pools[i]) and any_lane_open(pools[i + 1], now) then
      return redis.call('SET', KEY.admit_hint, '1', 'NX', 'PX', HINT_MS) and 1 or 0
    end
  end
  return 0
end
local function find_images(value, found)
  if type(value) == 'table' then
    for _, part in pairs(value) do find_images(part, found) end
  elseif type(value) == 'string' then
    local hash = #value == 77 and string.match(value, '^image:sha256:(%x+)$')
    if hash then found[hash] = (found[hash] or 0) + 1 end
  end
end
local function images_in(text)
  if not string.find(text, '"image:sha256:', 1, true) then return {} end
  local params, found = cjson.decode(text).params, {}
  params.prompt = nil
  find_images(params, found)
  return found
end
local function all_stored(uses)
  for hash in pairs(uses) do
    if not redis.call('ZSCORE', KEY.images, hash) then return false end
  end
  return true
end
local function count_uses(uses, by, now)
  for hash, times in pairs(uses) do
    if redis.call('HINCRBY', KEY.uses, hash, by * times) <= 0 then
      redis.call('HDEL', KEY.uses, hash)
      redis.call('ZADD', KEY.images, 'XX', whole(now), hash)
    elseif by > 0 then
      redis.call('ZADD', KEY.images, 'XX', '+inf', hash)
    end
  end
end
local current
local function epoch()
  if not current then
    local fields = redis.pcall('HMGET', KEY.epoch, 'number', 'before', 'calm', 'run', 'installation', 'lost')
    if fields.err then fields = {} end
    local function at(place) return tonumber(fields[place] or 0) or 0 end
    current = {number = whole(at(1)), before = at(2), calm = at(3), run = fields[4], lost = fields[6]}
    current.installation = fields[5] ~= '' and fields[5] or nil
  end
  return current
end
local function expect_installation()
  if epoch().lost then error('REFUSED [lost] [' .. epoch().lost .. ']') end
  if not epoch().installation then error('REFUSED [new] []') end
end
local function count_accepted(jobs)
  if jobs == 0 then return end
  local count = redis.pcall('HINCRBY', KEY.epoch, 'accepted', jobs)
  if type(count) == 'table' then redis.call('HSET', KEY.epoch, 'accepted', jobs) end
end
local function alarm(job, at)
  if at then
    redis.call('ZADD', KEY.alarms, whole(at), job.id)
  elseif at == false then
    redis.call('ZREM', KEY.alarms, job.id)
  end
end
local function publish_change(job, from, due, began)
  local starts, attempt = tonumber(job.T or 1), attempt_of(job)
  local retries = math.max(starts, attempt) - 1
  if job.s == 'queued' and from ~= '' then retries = math.max(began and starts or 0, attempt - 1) end
  redis.call('XADD', KEY.changes, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', job.id, 'state', job.s, 'from', from,
    'model', job.m, 'created', job.c, 'batch', job.b or '', 'reason', job.r or '',
    'due', due or '', 'began', began or '', 'retries', retries)
end
local function recheck_at(job, now, recheck)
  local at = now + recheck
  if job.E and attempt_of(job) == 1 then at = math.min(at, tonumber(job.E)) end
  return at
end
local decoded = {}
local function facts_of(text)
  decoded[text] = decoded[text] or cjson.decode(text)
  return decoded[text]
end
local function index_labels(family, labels, id, at)
  for name, value in pairs(facts_of(labels)) do
    if at then redis.call('ZADD', family .. name .. '=' .. value, at, id)
    else redis.call('ZREM', family .. name .. '=' .. value, id) end
  end
end
local function accept(batch, specs, now, recheck, free)
  local created = math.max(now, read_number(KEY.totals, 'last') + 1)
  local class = batch ~= '' and redis.call('HGET', KEY.batch .. batch, 'class') or nil
  local outcomes, count, seen, queued, uses, classes = {}, 0, {}, {}, {}, {}
  for _, spec in ipairs(specs) do
    local id, text, facts = spec[1], spec[2], facts_of(spec[3])
    local named = images_in(text)
    if seen[id] or redis.call('EXISTS', KEY.job .. id) == 1 then
      outcomes[#outcomes + 1] = redis.call('GET', KEY.text .. id) == text and 'known' or 'conflict'
    elseif not all_stored(named) then
      outcomes[#outcomes + 1] = 'imageless'
    elseif free and count >= free then
      outcomes[#outcomes + 1] = 'full'
    else
      seen[id] = true
      local at = whole(created + count)
      local job = {id = id, s = 'queued', m = facts.m, c = at, n = facts.n,
        V = facts.V, P = facts.P, Y = facts.Y or class}
      if facts.expires then job.E = whole(now + facts.expires) end
      if job.Y == '1' then job.Y = nil end
      if batch ~= '' then job.b = batch else job.K = facts.K end
      local record = {'s', 'queued', 'm', job.m, 'c', at, 'u', at}
      local function set(field, value)
        if value then record[#record + 1] = field; record[#record + 1] = value end
      end
      set('n', facts.n)
      set('o', facts.o)
      set('b', job.b)
      set('K', job.K)
      set('P', job.P)
      set('Y', job.Y)
      set('V', facts.V)
      set('E', job.E)
      set('I', next(named) and '1')
      set('Z', VERSION > 1 and VERSION)
      for hash, times in pairs(named) do uses[hash] = (uses[hash] or 0) + times end
      redis.call('HSET', KEY.job .. id, unpack(record))
      redis.call('SET', KEY.text .. id, text)
      if facts.l then
        redis.call('SET', KEY.labels .. id, facts.l)
        index_labels(KEY.labelled, facts.l, id, at)
      end
      redis.call('ZADD', KEY.state .. 'queued', at, id)
      if facts.delay then
        alarm(job, recheck_at(job, now, facts.delay))
      else
        local queue = queue_of(job)
        redis.call('ZADD', KEY.ready .. queue, at, id)
        queued[queue] = (queued[queue] or 0) + 1
        alarm(job, recheck_at(job, now, recheck))
      end
      publish_change(job, '', facts.delay and whole(now + facts.delay))
      if batch ~= '' then redis.call('RPUSH', KEY.members .. batch, id) end
      classes[class_of(job)] = (classes[class_of(job)] or 0) + 1
      count = count + 1
      outcomes[#outcomes + 1] = 'created'
    end
  end
  count_uses(uses, 1, now)
  if count > 0 then
    redis.call('HSET', KEY.totals, 'last', whole(created + count - 1))
    if batch ~= '' then
      redis.call('HINCRBY', KEY.batch .. batch, 'accepted', count)
      redis.call('HINCRBY', KEY.batch .. batch, 'queued', count)
      for each, more in pairs(classes) do count_unfinished(batch, each, more) end
    end
  end
  for queue, more in pairs(queued) do
    local pool, class_of_it = split_queue(queue)
    if batch ~= '' then note_place(batch, pool .. '|' .. class_of_it) end
    redis.call('HSETNX', KEY.pools, pool, '')
    count_waiting(queue, more)
  end
  return outcomes, count
end
local function free_places(most)
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
local function open_batch(batch, now, options)
  local key = KEY.batch .. batch
  if redis.call('HEXISTS', key, 'created') == 1 then return end
  local fields, at = cjson.decode(options), whole(math.max(now, read_number(KEY.totals, 'last') + 1))
  redis.call('HSET', KEY.totals, 'last', at)
  redis.call('HSET', key, 'created', at, 'accepted', 0, 'asked', options)
  for field, value in pairs(fields) do redis.call('HSET', key, field, value) end
  redis.call('ZADD', KEY.batches, at, batch)
  if fields.labels then index_labels(KEY.grouped, fields.labels, batch, at) end
end
if #ARGV < 4 or (#ARGV - 4) % 3 ~= 0 then error('expected 4 + 3 per job arguments, got ' .. #ARGV) end
expect_installation()
local batch, now = ARGV[1], clock()
if batch ~= '' then open_batch(batch, now, ARGV[2]) end
local specs = {}
for i = 5, #ARGV, 3 do specs[#specs + 1] = {ARGV[i], ARGV[i + 1], ARGV[i + 2]} end
local outcomes, created = accept(batch, specs, now, tonumber(ARGV[3]), free_places(ARGV[4]))
count_accepted(created)
return {created > 0 and admit_hint(now) or 0, unpack(outcomes)}
