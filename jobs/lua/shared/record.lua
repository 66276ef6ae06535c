-- The record of a job: reading it, checking it, writing it. This text stands in front of every verb, below the
-- generated tables ALLOWED, HOLDS and FINAL (jobs.states) and FORMS (jobs.fields), and below clock(), which is Redis's own
-- time in µs. KEYS[1] is the prefix of all keys. The loader puts the names of keys in place of KEY.<name>
-- (jobs.store.redis_keys).
--
-- The fields of the record are listed in jobs/fields.py. The loader (jobs.store.lua_source) replaces their names by the
-- stored letters. Times are whole µs, kept as decimal text, because Lua would print 1.8e+15.

-- Stop a call that has another number of arguments.
local function arity(count)
  if #ARGV ~= count then error('expected ' .. count .. ' arguments, got ' .. #ARGV) end
end

local function whole(number) return string.format('%.0f', number) end

-- Stop here: `what` is not as this service writes it (jobs.errors.RecordDamaged).
local function damaged(what, why) error('DAMAGED [' .. what .. '] ' .. why, 0) end

-- Return whether a value is UTF-8. It lets some malformed sequences pass that no program writes by mistake;
-- jobs/fields.py is strict.
local function is_text(value)
  if string.find(value, '^[\1-\127]*$') then return true end
  local forms = {'[\240-\244][\128-\191][\128-\191][\128-\191]', '[\224-\239][\128-\191][\128-\191]',
    '[\194-\223][\128-\191]'}
  for _, form in ipairs(forms) do
    value = string.gsub(value, form, '.')
  end
  return not string.find(value, '[\128-\255]')
end

-- Return what is wrong with a record, by its fields alone; nil: nothing. The same rules as `wrong` in jobs/fields.py.
local function find_fault(job)
  for field, value in pairs(job) do
    local form = FORMS[field]
    if not form then
      if not is_text(value) then return 'a field of it is not UTF-8' end
    elseif not string.find(value, form) or form == WHOLE and #value > MOST_DIGITS then
      return 'its field ' .. field .. ' is malformed'
    end
  end
  if not (job.state and job.model and job.created_at and job.updated_at) then
    return 'it lacks its state, model, time of creation or time of change'
  end
  if job.model == '' then return 'its model (' .. FIELD.model .. ') is empty' end
  if not ALLOWED[job.state] then return 'no version knows its state' end
  if job.phase and (not ALLOWED[job.phase] or FINAL[job.phase]) then
    return 'its phase (' .. FIELD.phase .. ') is malformed'
  end
  if FINAL[job.state] then
    if not job.ended_at then return 'it has ended, but lacks the time of its end (' .. FIELD.ended_at .. ')' end
    if job.phase and job.owed and not (job.lookup_at and job.delivery_at) then
      return 'it lacks the time of its next look-up (' .. FIELD.lookup_at .. ') or delivery (' .. FIELD.delivery_at
        .. ')'
    end
  end
  if (FINAL[job.state] and job.phase or job.state) == 'in_doubt' and not job.doubt_since then
    return 'it is in doubt, but lacks since when (' .. FIELD.doubt_since .. ')'
  end
end

-- Read a job. Returns nil where there is none; nil and 'newer' for a record of a later version, whose fields may mean
-- something else; nil, 'damaged' and why for one that no version writes. Verbs for several jobs leave such records as
-- they are.
local function read(id)
  local flat = redis.pcall('HGETALL', KEY.job .. id)
  if flat.err then
    if not string.find(flat.err, 'WRONGTYPE', 1, true) then error(flat.err, 0) end
    return nil, 'damaged', 'it is no hash'
  end
  if #flat == 0 then return nil end
  local job = {}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  job.id = id
  if job.version and string.find(job.version, '^%d%d?%d?%d?%d?%d?%d?%d?%d?$') and tonumber(job.version) > VERSION then
    return nil, 'newer'
  end
  local why = find_fault(job)
  if why then return nil, 'damaged', why end
  return job
end

-- Read a job, for the verbs of one job. They call it first, so an error has changed nothing.
local function load(id)
  local job, problem, why = read(id)
  if problem == 'newer' then error('NEWER ' .. id) end
  if problem then damaged('job ' .. id, why) end
  return job
end

-- Note a damaged job, one of several, for an operator. The other jobs go on.
local function note_damaged(id, now) redis.call('ZADD', KEY.damaged, 'NX', string.format('%.0f', now), id) end

-- Call `act` for one of several jobs, or for what nothing else depends on (logs, their indexes, sums by label, events). It
-- fails where data beside the record are damaged: that is noted under `id`, and the rest goes on. Otherwise the verb would
-- stop half-way, and its repeat would count the same money again. Returns whether it succeeded. An error that concerns all jobs, such as no memory, makes the note fail as
-- well.
local function guarded(id, now, act)
  if pcall(act) then return true end
  note_damaged(id, now)
  return false
end

-- Where the current attempt stands: the state itself, or what a cancelled or expired job left behind at the provider;
-- nil: nothing.
local function phase_of(job)
  if FINAL[job.state] then return job.phase end
  return job.state
end

local function image_count(job) return tonumber(job.images or 1) end
local function attempt_of(job) return tonumber(job.attempt or 1) end
local function lane_of(job) return KEY.lane .. (job.lane or DEFAULT_LANE) end
-- Return the number that a field holds, by what Redis answered for it; 0 where it is absent.
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
local function read_numbers(key, ...)
  local numbers = check_hash(key, redis.pcall('HMGET', key, ...))
  for i, field in ipairs({...}) do numbers[i] = to_number(key, field, numbers[i]) end
  return unpack(numbers)
end

-- Write some fields; false deletes one. The indexes of jobs in doubt, and of those without a readable answer, follow, by
-- the time since when.
local function save(job, change)
  local set, del, doubt, unreadable = {}, {}, job.doubt_since, job.unreadable_since
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
  if job.doubt_since and job.doubt_since ~= doubt then redis.call('ZADD', KEY.doubts, job.doubt_since, job.id) end
  if doubt and not job.doubt_since then redis.call('ZREM', KEY.doubts, job.id) end
  if job.unreadable_since ~= unreadable then
    if job.unreadable_since then
      redis.call('ZADD', KEY.unreadable, job.unreadable_since, job.id)
    else
      redis.call('ZREM', KEY.unreadable, job.id)
    end
  end
end

-- Read a virtual time of a pool (jobs/store/redis_keys.py). Only fairness depends on it, so a damaged value counts as 0
-- and is replaced.
local function virtual_time(state, of)
  local value = tonumber(redis.call('HGET', state, 'v' .. of) or 0)
  return value and value == value and math.abs(value) ~= math.huge and value or 0
end

-- Read what a batch says of its jobs: the producer's key, the weight among that key's queues, the cap, what was spent,
-- how many of its jobs have an unknown cost that is not waived, and whether it waits for an approval (`hold`). `broken`: it cannot be read. Such a batch counts as
-- halted, because its cap is not known.
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
    local stored =
      redis.pcall('HMGET', KEY.batch .. name, 'key', 'weight', 'cap', 'spent', 'unknown_costs', 'waived', 'hold',
        'labels')
    if stored.err then
      if not string.find(stored.err, 'WRONGTYPE', 1, true) then error(stored.err, 0) end
      broken = true
    end
    local weight, cap, spent = count(stored[2], 1), count(stored[3], nil), count(stored[4], 0)
    local unknown = count(stored[5], 0) - count(stored[6], 0)
    batches[name] = {owner = stored[1] or '', weight = weight or 1, cap = cap, spent = spent or 0, unknown = unknown,
      hold = stored[7] or nil, labels = stored[8] or nil, broken = broken or weight == 0}
  end
  return batches[name]
end

-- Return the producer's key that a queue belongs to, and the queue's weight among that key's queues.
local function owner_of(kind, name)
  if kind == PAYER.key then return name, 1 end
  return batch_of(name).owner, batch_of(name).weight
end

-- Return the producer that a job belongs to; '' in data of the first versions, which knew no producers.
local function owner_of_job(job)
  if job.batch then return batch_of(job.batch).owner end
  return job.owner or ''
end

-- Return whether something belongs to a caller, who is a producer or ANYONE. Every verb that gets an id and a caller
-- answers as if the id did not exist where it does not.
local function is_of(owner, caller)
  return caller == ANYONE or owner == caller or (owner == '' and caller == CELERY)
end

-- The same of a job's id, which may have no readable record.
local function is_job_of(id, caller)
  local stored = redis.pcall('HMGET', KEY.job .. id, FIELD.batch, FIELD.owner)
  return not stored.err
    and is_of(owner_of_job(RECORD{batch = stored[1] or nil, owner = stored[2] or nil}), caller)
end
