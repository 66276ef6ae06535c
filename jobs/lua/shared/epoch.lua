-- The installation whose jobs these are, and what Redis may have forgotten of them.
--
-- A worker writes the record of the installation (KEY.epoch) once, at the first start. A Redis without it is empty, is
-- another than it should be, or has lost it: no verb takes work in or hands work out there. The same holds where a worker
-- has found that Redis went back behind what was seen of it (`lost`), until an operator accepts what is there (recover.lua).
--
-- A Redis that was started again, or took over from another, may lack the last that was acknowledged: a job that waits by
-- its record may have been sent. So all jobs from before such a moment are doubted: each is looked up at the provider
-- before it is sent, once. The run id tells that moment (redis.io/docs/latest/commands/info: a random value that
-- identifies the server), which changes with each start and with each failover.

local current
local function epoch()
  if not current then
    local fields = redis.pcall('HMGET', KEY.epoch, 'number', 'before', 'calm', 'run', 'installation', 'lost')
    if fields.err then fields = {} end -- a value of another type: there is no record
    local function at(place) return tonumber(fields[place] or 0) or 0 end
    current = {number = whole(at(1)), before = at(2), calm = at(3), run = fields[4], lost = fields[6]}
    current.installation = fields[5] ~= '' and fields[5] or nil
  end
  return current
end

-- Call it first in each verb that takes work in or hands work out.
local function expect_installation()
  if epoch().lost then error('REFUSED [lost] [' .. epoch().lost .. ']') end
  if not epoch().installation then error('REFUSED [new] []') end
end

-- A job that is unknown here may be among the jobs that were lost: nobody is told then that there is none.
local function answer_unknown()
  expect_installation()
  return 'unknown'
end

local function count_accepted(jobs)
  if jobs == 0 then return end
  local count = redis.pcall('HINCRBY', KEY.epoch, 'accepted', jobs)
  -- A damaged count begins again: the next worker that compares takes it for a loss.
  if type(count) == 'table' then redis.call('HSET', KEY.epoch, 'accepted', jobs) end
end

-- A worker may still be sending what it claimed in the time that is forgotten, until its lease is over: only looks from
-- then on count. Producers whose answer got lost enqueue again in that time at the latest: those jobs are doubted too.
-- `least`: the number of the epoch that is known from elsewhere.
local function begin_epoch(now, lease, also_new, least)
  local calm = math.max(now, read_number(KEY.totals, 'last')) + lease
  redis.call('HSET', KEY.epoch, 'number', whole(math.max(tonumber(epoch().number), least or 0) + 1), 'since', whole(now),
    'calm', whole(calm), 'before', whole(math.max(calm, now + also_new)))
  current = nil
end

-- The run id of this Redis; '' where INFO is kept from us (the doctor tells): then only recover.lua begins an epoch.
local function run_id()
  local text = redis.pcall('INFO', 'server')
  return type(text) == 'string' and string.match(text, 'run_id:(%w+)') or ''
end

-- What was seen of this Redis until now, or until that later time by another clock, is no longer held against it.
local function trust_from(now, known_at)
  redis.call('HSET', KEY.epoch, 'trusted', whole(math.max(now, known_at + 1)), 'run', run_id())
end

-- What is there is the truth from now on.
local function accept_data(now, lease, also_new, installation, least, known_at)
  local there = epoch().installation
  if redis.call('TYPE', KEY.epoch).ok ~= 'hash' then redis.call('DEL', KEY.epoch) end
  redis.call('HSET', KEY.epoch, 'installation', there or installation)
  redis.call('HSETNX', KEY.epoch, 'accepted', '0')
  redis.call('HDEL', KEY.epoch, 'lost', 'expected', 'lost_at')
  begin_epoch(now, lease, also_new, least)
  trust_from(now, known_at)
end

-- Call it before work is handed out.
local function notice_restart(now, lease, automatic)
  local run, before = run_id(), epoch().run
  if run == before then return end
  redis.call('HSET', KEY.epoch, 'run', run)
  current = nil
  if before and run ~= '' and automatic == '1' then begin_epoch(now, lease, 0) end
end

-- Whether an attempt that waits may have been sent all the same.
local function needs_lookup(job) return tonumber(job.created_at) < epoch().before and job.epoch ~= epoch().number end

-- The fields of a doubt for that reason; there is one at most in an epoch. `since`: when the job's outcome became unknown
-- otherwise.
local function set_epoch_doubt(change, since)
  change.doubt_since, change.lookups, change.epoch, change.forgotten = math.max(tonumber(since or 0), epoch().calm), false, epoch().number, '1'
  return change
end

-- Fences of the time that is forgotten must not come again.
local FENCES = 1000000
local function next_fence(job) return math.max(tonumber(job.fence or 0), tonumber(epoch().number) * FENCES) + 1 end
