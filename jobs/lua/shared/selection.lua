-- Selecting jobs by a filter (jobs/job_filter.py, decoded from JSON): find_jobs.lua lists and counts them, bulk.lua
-- changes them. No script searches all jobs: it continues from a cursor in the narrowest index, for a bounded amount of
-- work. Times are in µs, costs in nano-dollars.

-- The work of a job that the producer's name in its id excludes, where that of reading a record is 1.
local WORK_OF_ID = 0.2

-- Return whether the producer's name in a job's id excludes that the job is of the filter's owner.
local function is_others_id(filter, id)
  local owner = filter.owner and string.match(id, OWNER_MARK .. '(.*)$')
  return owner and owner ~= filter.owner or false
end

-- Read those fields of a job that `meets` uses; nil: there is no such job.
local function read_for_filter(id)
  local stored = redis.pcall('HMGET', KEY.job .. id, FIELD.state, FIELD.model, FIELD.batch, FIELD.owner,
    FIELD.created_at, FIELD.ended_at, FIELD.settled_by, FIELD.sent, FIELD.lane, FIELD.unsaved, FIELD.earlier_cost)
  if stored.err or not stored[1] then return nil end
  for place = 1, 11 do stored[place] = stored[place] or nil end
  return RECORD{id = id, state = stored[1], model = stored[2], batch = stored[3], owner = stored[4],
    created_at = stored[5], ended_at = stored[6], settled_by = stored[7], sent = stored[8], lane = stored[9],
    unsaved = stored[10], earlier_cost = stored[11]}
end

local function is_within(number, from, before)
  number = tonumber(number)
  return number ~= nil and (not from or number >= from) and (not before or number < before)
end

local function has_code(filter, job, code)
  local classes = filter.classes
  if filter.codes and not (job.state == 'failed' and filter.codes[code]) then return false end
  if not classes then return true end
  if job.unsaved then return classes.unsaved end
  if job.state ~= 'failed' then return false end
  return classes.codes and classes.codes[code] or classes.other_than and not classes.other_than[code]
end

-- Return what all attempts of a job cost, by its decoded result; nil: the provider named no price.
local function whole_cost(job, result)
  local cost = type(result.cost) == 'string' and nano_of(result.cost) or nil
  local earlier = tonumber(job.earlier_cost or nil)
  if cost and earlier then return cost + earlier end
  return cost or earlier
end

-- Return whether a job meets a filter.
local function meets(filter, job)
  if filter.states and not filter.states[job.state] then return false end
  if filter.batch and job.batch ~= filter.batch then return false end
  if filter.models and not filter.models[job.model] then return false end
  if filter.lanes and not (job.sent and filter.lanes[job.lane or DEFAULT_LANE]) then return false end
  if filter.settled_by and not filter.settled_by[job.settled_by or ''] then return false end
  if not is_within(job.created_at, filter.since, filter.before) then return false end
  if (filter.ended_since or filter.ended_before)
    and not is_within(job.ended_at, filter.ended_since, filter.ended_before) then return false end
  if filter.owner and not is_of(owner_of_job(job), filter.owner) then return false end
  for _, label in ipairs(filter.labels or {}) do
    if not redis.call('ZSCORE', KEY.labelled .. label, job.id) then return false end
  end
  if not (filter.codes or filter.classes or filter.min_cost or filter.max_cost) then return true end
  local readable, result = pcall(cjson.decode, redis.call('GET', KEY.result .. job.id) or '{}')
  if not readable or type(result) ~= 'table' then result = {} end
  local code = type(result.error) == 'table' and result.error.code
  if not has_code(filter, job, type(code) == 'string' and code or '') then return false end
  if not (filter.min_cost or filter.max_cost) then return true end
  local cost = whole_cost(job, result)
  return cost ~= nil and cost >= (filter.min_cost or 0) and cost <= (filter.max_cost or math.huge)
end

local function times_of(filter)
  return filter.since and whole(filter.since) or '-inf', filter.before and '(' .. whole(filter.before) or '+inf'
end

-- Return the narrowest index for a filter, and how many jobs of its time are in it: {label = ...}, {states = {...}} or
-- {batch = ...}, whose jobs are in input order.
local function narrowest(filter)
  -- A batch was created before its jobs.
  local created = filter.batch and tonumber(redis.call('HGET', KEY.batch .. filter.batch, 'created') or nil)
  if created then filter.since = math.max(filter.since or 0, created) end
  local from, before = times_of(filter)
  local source, size = {states = {}}, 0
  for state in pairs(filter.states or ALLOWED) do
    local count = redis.call('ZCOUNT', KEY.state .. state, from, before)
    if count > 0 then source.states[#source.states + 1] = state end
    size = size + count
  end
  for _, label in ipairs(filter.labels or {}) do
    local count = redis.call('ZCOUNT', KEY.labelled .. label, from, before)
    if count < size then source, size = {label = label}, count end
  end
  if filter.batch then
    local count = redis.call('LLEN', KEY.members .. filter.batch)
    if count <= size then source, size = {batch = filter.batch}, count end
  end
  return source, size
end

-- Return jobs of an index, each as {id, cursor behind it}. The cursor is a place in a batch, else a time of creation, after
-- which the jobs follow in the order `oldest` first, or newest first. '' begins.
local function entries_after(source, filter, cursor, oldest, most)
  local entries = {}
  if source.batch then
    local first = tonumber(cursor ~= '' and cursor or 0)
    for place, id in ipairs(redis.call('LRANGE', KEY.members .. source.batch, first, first + most - 1)) do
      entries[place] = {id, whole(first + place)}
    end
    return entries
  end
  local from, before = times_of(filter)
  if cursor ~= '' and oldest then from = '(' .. cursor end
  if cursor ~= '' and not oldest and not (filter.before and filter.before < tonumber(cursor)) then
    before = '(' .. cursor
  end
  local function add(key)
    local flat
    if oldest then
      flat = redis.call('ZRANGEBYSCORE', key, from, before, 'WITHSCORES', 'LIMIT', 0, most)
    else
      flat = redis.call('ZREVRANGEBYSCORE', key, before, from, 'WITHSCORES', 'LIMIT', 0, most)
    end
    for i = 1, #flat, 2 do entries[#entries + 1] = {flat[i], tonumber(flat[i + 1])} end
  end
  if source.label then add(KEY.labelled .. source.label) end
  for _, state in ipairs(source.states or {}) do add(KEY.state .. state) end
  if #(source.states or {}) > 1 then
    table.sort(entries, function(a, b)
      if oldest then return a[2] < b[2] end
      return a[2] > b[2]
    end)
  end
  local found = {}
  for place = 1, math.min(most, #entries) do found[place] = {entries[place][1], whole(entries[place][2])} end
  return found
end

-- Jobs that are read at once after others' were passed over; then twice as many each time.
local FEW = 20

-- Go on from a cursor, and call `visit(id, cursor behind it)` for each job that the filter's owner may have, until it
-- returns false or so much work is done. Reads `at_once` ids at once. Returns the cursor behind the last one, whether the
-- index has ended, and how many of its jobs were passed.
local function walk(source, filter, cursor, oldest, work, at_once, visit)
  local passed, by_owner = 0, filter.owner and not source.batch
  local step, follows_others = by_owner and FEW or at_once, by_owner
  while work > 0 do
    if follows_others then
      local place = pass_others(filter.owner, tonumber(cursor ~= '' and cursor or nil), oldest)
      if place == math.huge then return cursor, true, passed end
      cursor, work, step = place and whole(place) or cursor, work - WORK_OF_ID, FEW
    end
    local most = math.min(step, math.ceil(filter.owner and work / WORK_OF_ID or work))
    local entries = entries_after(source, filter, cursor, oldest, most)
    for _, entry in ipairs(entries) do
      local others = is_others_id(filter, entry[1])
      if not others and work <= 0 then return cursor, false, passed end
      if not others and visit(entry[1], entry[2]) == false then return cursor, false, passed end
      cursor, work, passed = entry[2], work - (others and WORK_OF_ID or 1), passed + 1
      follows_others = by_owner and others
    end
    if #entries < most then return cursor, true, passed end
    step = math.min(at_once, 2 * step)
  end
  return cursor, false, passed
end
