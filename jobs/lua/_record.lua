-- The record of a job, in front of every verb, below the generated KEY (jobs.keys), ALLOWED, HOLDS and FINAL (jobs.states)
-- and clock() (µs, Redis's own time). KEYS[1] is the prefix of all keys.
--
-- The record's fields are named in jobs.record. Times are whole µs, kept as decimal text: Lua would print 1.8e+15.

local function whole(number) return string.format('%.0f', number) end

-- Returns nil and true for a record of a later version (jobs.record): what its fields mean is not known here. Verbs for
-- several jobs leave such a one to the processes that know.
local function read(id)
  local flat = redis.call('HGETALL', KEY.job .. id)
  if #flat == 0 then return nil end
  local job = {id = id}
  for i = 1, #flat, 2 do job[flat[i]] = flat[i + 1] end
  if job.Z and tonumber(job.Z) > VERSION then return nil, true end
  return job
end

-- For the verbs of one job, as the first thing that they do: nothing has changed yet.
local function load(id)
  local job, newer = read(id)
  if newer then error('NEWER ' .. id) end
  return job
end

-- Where the current attempt stands: the state itself, or what a cancelled or expired job left behind at the provider.
local function phase(job)
  if FINAL[job.s] then return job.p end
  return job.s
end

local function images(job) return tonumber(job.n or 1) end
local function attempt(job) return tonumber(job.a or 1) end
local function lane_of(job) return KEY.lane .. (job.L or DEFAULT_LANE) end
local function number(key, field) return tonumber(redis.call('HGET', key, field) or 0) end

-- Write some fields; false deletes one. Those in doubt stand in an index, by the time since when.
local function save(job, change)
  local set, del, doubt = {}, {}, job.x
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
  if job.x and job.x ~= doubt then redis.call('ZADD', KEY.doubts, job.x, job.id) end
  if doubt and not job.x then redis.call('ZREM', KEY.doubts, job.id) end
end

-- What a batch says of its jobs: the producer's key, its weight among that key's queues, what it may cost and has cost.
local batches = {}
local function batch_of(name)
  if not batches[name] then
    local key, weight, cap, spent = unpack(redis.call('HMGET', KEY.batch .. name, 'key', 'weight', 'cap', 'spent'))
    batches[name] = {owner = key or '', weight = tonumber(weight or 1), cap = tonumber(cap or nil), spent = tonumber(spent or 0)}
  end
  return batches[name]
end

-- The producer's key that a queue belongs to, and its weight among that key's queues.
local function owner_of(kind, name)
  if kind == 'k' then return name, 1 end
  return batch_of(name).owner, batch_of(name).weight
end
