-- Read where this Redis stands, and whether it still holds what workers have seen. A worker asks before each of its
-- rounds. It writes nothing.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1... for each sighting, the id of the last change at that time ('': there was none)
-- Returns: {now in µs, id of the last change or '', when a round of reconcile last began in µs or '', 1 where there are
--   jobs, 1 where this Redis is the witness of another one, 1 where it was restarted and no worker has noticed yet, the
--   record of the installation as {field, value, ...}, {{fate, jobs accepted after it}...}}; fate:
--   known    the change is there
--   unknown  it is not, although older changes are: Redis went back to before it
--   gone     there is no change at all
--   trimmed  all changes that are kept are later: only counts can tell
local function read_or_empty(key, command, ...)
  local stored = redis.pcall(command, key, ...)
  return stored.err and {} or stored -- a value of another type counts as none
end
local record = read_or_empty(KEY.epoch, 'HGETALL')
local last = read_or_empty(KEY.changes, 'XREVRANGE', '+', '-', 'COUNT', 1)[1]

local STEP = 1000
-- Return how many jobs were accepted after a change, and whether any job changed after it. A row with a field `job` is
-- that of a Celery task (jobs/store/event_stream.py).
local function jobs_after(id)
  local accepted, any, from = 0, false, id
  while true do
    local rows = read_or_empty(KEY.changes, 'XRANGE', '(' .. from, '+', 'COUNT', STEP)
    for _, row in ipairs(rows) do
      local is_job, is_new = true, false
      for i = 1, #row[2], 2 do
        if row[2][i] == 'job' then is_job = false end
        if row[2][i] == 'from' and row[2][i + 1] == '' then is_new = true end
      end
      any = any or is_job
      if is_job and is_new then accepted = accepted + 1 end
    end
    if #rows < STEP then return accepted, any end
    from = rows[#rows][1]
  end
end

local function has_jobs()
  if redis.call('EXISTS', KEY.alarms, KEY.batches) > 0 then return true end
  -- With a record, the jobs that ended need not be searched for: a worker asks every second.
  if epoch().installation then return last ~= nil end
  return select(2, jobs_after('0-0'))
end

local function fate_of(id)
  if id == '' then return {'known', 0, '0'} end
  if #read_or_empty(KEY.changes, 'XRANGE', id, id) > 0 then return {'known', 0, '0'} end
  if not last then return {'gone', 0, '0'} end
  local before = read_or_empty(KEY.changes, 'XREVRANGE', id, '-', 'COUNT', 1)[1]
  if not before then return {'trimmed', 0, '0'} end
  return {'unknown', (jobs_after(id)), string.match(before[1], '^%d+')}
end

local fates = {}
for i = 1, #ARGV do fates[i] = fate_of(ARGV[i]) end
local round = redis.pcall('HGET', KEY.totals, 'round')
return {
  whole(clock()), last and last[1] or '', type(round) == 'string' and round or '', has_jobs() and 1 or 0,
  redis.call('EXISTS', KEY.witness), epoch().run and epoch().run ~= run_id() and 1 or 0, record, fates,
}
