-- The installation whose jobs these are, and what Redis may have forgotten of them.
--
-- A worker writes the record of the installation (KEY.epoch) once, at the first start. A Redis without it is empty, is
-- another Redis than it should be, or has lost it: no verb accepts work or hands work out there. The same holds where a
-- worker has found that Redis went back to before what workers have seen (`lost`), until an operator accepts the data
-- (recover.lua).
--
-- A Redis that was restarted, or took over from another, may lack the last writes that it acknowledged. A job that
-- waits by its record may then have been sent. So all jobs from before such a moment need a look-up: each is looked up
-- at the provider once before it is sent. The run id marks that moment (redis.io/docs/latest/commands/info: a random
-- value that identifies the server): it changes with each start and each failover.

local current
local function epoch()
  if not current then
    local fields = redis.pcall('HMGET', KEY.epoch, 'number', 'before', 'calm', 'run', 'installation', 'lost')
    if fields.err then fields = {} end -- a value of another type counts as no record
    local function at(place) return tonumber(fields[place] or 0) or 0 end
    current = {number = whole(at(1)), before = at(2), calm = at(3), run = fields[4]}
    -- Version 1 takes the note that only later versions may work (accept.lua) for a loss.
    current.newer_only = fields[6] == NEWER_ONLY
    current.lost = not current.newer_only and fields[6]
    current.installation = fields[5] ~= '' and fields[5] or nil
  end
  return current
end

-- Refuse unless this Redis holds the installation. Each verb that accepts work or hands work out calls it first.
local function expect_installation()
  if epoch().lost then error('REFUSED [lost] [' .. epoch().lost .. ']') end
  if not epoch().installation then error('REFUSED [new] []') end
end

-- Answer 'unknown', unless data are missing: a job that is unknown here may then be among the lost ones.
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

-- Record between which times jobs were accepted whose records may be lost: since the last one whose record is there.
-- Their tasks may exist at the provider without a record (jobs.store.continuity).
local MOST_GAPS = 32
local function note_gap(from, to)
  local known, gaps = redis.call('HMGET', KEY.epoch, 'gaps', 'since'), {}
  -- The version before began epochs without noting this.
  local text = known[1] or (known[2] and '0-' .. known[2]) or ''
  for start, finish in string.gmatch(text, '(%d+)-(%d+)') do gaps[#gaps + 1] = {start, finish} end
  local latest = gaps[#gaps]
  if latest and tonumber(latest[1]) == from then
    latest[2] = whole(to)
  else
    gaps[#gaps + 1] = {whole(from), whole(to)}
  end
  if #gaps > MOST_GAPS then
    gaps[2][1] = gaps[1][1]
    table.remove(gaps, 1)
  end
  for place, gap in ipairs(gaps) do gaps[place] = gap[1] .. '-' .. gap[2] end
  redis.call('HSET', KEY.epoch, 'gaps', table.concat(gaps, ' '))
end

-- Begin an epoch. A worker may still be sending what it claimed in the forgotten time, until its lease is over: only
-- look-ups from then on (`calm`) count. Producers that got no answer enqueue again in that time at the latest, so jobs
-- accepted until `before` need a look-up, too. `least`: the number of the epoch that is known from elsewhere.
local function begin_epoch(now, lease, also_new, least)
  local last = read_number(KEY.totals, 'last')
  local calm = math.max(now, last) + lease
  note_gap(last, calm)
  redis.call('HSET', KEY.epoch, 'number', whole(math.max(tonumber(epoch().number), least or 0) + 1),
    'since', whole(now), 'calm', whole(calm), 'before', whole(math.max(calm, now + also_new)))
  current = nil
end

-- Return the run id of this Redis; '' where it may not be read (the doctor reports that): then only recover.lua begins
-- an epoch.
local function run_id()
  local text = redis.pcall('INFO', 'server')
  return type(text) == 'string' and string.match(text, 'run_id:(%w+)') or ''
end

-- Accept that what workers have seen of this Redis until now, or until `known_at` by another clock, no longer counts
-- against it.
local function trust_from(now, known_at)
  redis.call('HSET', KEY.epoch, 'trusted', whole(math.max(now, known_at + 1)), 'run', run_id())
end

-- Accept the data of this Redis as the truth from now on.
local function accept_data(now, lease, also_new, installation, least, known_at)
  local there = epoch().installation
  if redis.call('TYPE', KEY.epoch).ok ~= 'hash' then redis.call('DEL', KEY.epoch) end
  redis.call('HSET', KEY.epoch, 'installation', there or installation)
  redis.call('HSETNX', KEY.epoch, 'accepted', '0')
  redis.call('HDEL', KEY.epoch, 'expected', 'lost_at')
  -- Processes of the version before take this for a loss: they would not recognise jobs that newer ones accepted.
  redis.call('HSET', KEY.epoch, 'lost', NEWER_ONLY)
  begin_epoch(now, lease, also_new, least)
  trust_from(now, known_at)
end

-- Begin an epoch where Redis was restarted. Verbs call it before they hand work out.
local function notice_restart(now, lease, automatic)
  local run, before = run_id(), epoch().run
  if run == before then return end
  redis.call('HSET', KEY.epoch, 'run', run)
  current = nil
  if before and run ~= '' and automatic == '1' then begin_epoch(now, lease, 0) end
end

-- Return whether an attempt that waits may have been sent all the same.
local function needs_lookup(job) return tonumber(job.created_at) < epoch().before and job.epoch ~= epoch().number end

-- Put into `change` that the job is in doubt since the epoch began; it happens at most once in an epoch. `since`: when
-- its outcome became unknown for another reason.
local function set_epoch_doubt(change, since)
  change.doubt_since, change.lookups, change.epoch, change.forgotten = math.max(tonumber(since or 0), epoch().calm),
    false, epoch().number, '1'
  return change
end

-- The fencing tokens of the forgotten time must not come again.
local FENCES = 1000000
local function next_fence(job) return math.max(tonumber(job.fence or 0), tonumber(epoch().number) * FENCES) + 1 end
