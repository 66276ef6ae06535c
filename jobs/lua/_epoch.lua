-- What Redis may have forgotten. One that was started again, or took over from another, may lack the last that was
-- acknowledged: a job that waits by its record may have been sent. So all jobs from before such a moment are doubted: each is
-- looked up at the provider before it is sent, once.
--
-- The moment is told by the run id (redis.io/docs/latest/commands/info: a random value that identifies the server), which
-- changes with each start and with each failover.

local current
local function epoch()
  if not current then
    local number, before, calm = unpack(redis.call('HMGET', KEY.epoch, 'number', 'before', 'calm'))
    current = {number = number or '0', before = tonumber(before or 0), calm = tonumber(calm or 0)}
  end
  return current
end

-- A worker may still be sending what it claimed in the time that is forgotten, until its lease is over: only looks from
-- then on count. Producers whose answer got lost enqueue again in that time at the latest: those jobs are doubted too.
local function begin_epoch(now, lease, also_new)
  local calm = math.max(now, number(KEY.totals, 'last')) + lease
  redis.call('HINCRBY', KEY.epoch, 'number', 1)
  redis.call('HSET', KEY.epoch, 'since', whole(now), 'calm', whole(calm), 'before', whole(math.max(calm, now + also_new)))
  current = nil
end

-- To be called before work is handed out. Where INFO is kept from us (the doctor tells), only recover.lua begins an epoch.
local function notice_restart(now, lease, automatic)
  local said = redis.pcall('INFO', 'server')
  local run = type(said) == 'string' and string.match(said, 'run_id:(%w+)') or ''
  local before = redis.call('HGET', KEY.epoch, 'run')
  if run == before then return end
  redis.call('HSET', KEY.epoch, 'run', run)
  if before and run ~= '' and automatic == '1' then begin_epoch(now, lease, 0) end
end

-- Whether an attempt that waits may have been sent all the same.
local function doubted(job) return tonumber(job.c) < epoch().before and job.G ~= epoch().number end

-- The fields of a doubt for that reason; there is one at most in an epoch. `since`: when the job's outcome became unknown
-- otherwise.
local function doubt_epoch(change, since)
  change.x, change.l, change.G, change.F = math.max(tonumber(since or 0), epoch().calm), false, epoch().number, '1'
  return change
end

-- Fences of the time that is forgotten must not come again.
local FENCES = 1000000
local function next_fence(job) return math.max(tonumber(job.f or 0), tonumber(epoch().number) * FENCES) + 1 end
