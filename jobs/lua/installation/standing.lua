-- Where this Redis stands, and whether it has been where others saw it. A worker asks before each of its rounds.
-- ARGV: for each place that was seen, the last id of the stream of changes then ('': there was none)
-- Returns: {now in µs, last id of the stream or '', when a round of reconcile last began in µs or '', whether there are jobs
--   (0|1), whether this Redis is a witness of another one (0|1), whether it was started again and nobody has noticed so
--   far (0|1), the record of the installation as field, value, ..., {{fate, jobs accepted after it}...}}, fate being
--   known    this change is there
--   unknown  it is not, although older changes are: Redis went back to before it
--   gone     no change is there at all
--   trimmed  all changes that are kept are later: only counts can tell
-- It writes nothing.
local function kept(key, command, ...)
  local told = redis.pcall(command, key, ...)
  return told.err and {} or told -- a value of another type is none
end
local record = kept(KEY.epoch, 'HGETALL')
local last = kept(KEY.changes, 'XREVRANGE', '+', '-', 'COUNT', 1)[1]

local STEP = 1000
local function accepted_after(id)
  local count, from = 0, id
  while true do
    local rows = kept(KEY.changes, 'XRANGE', '(' .. from, '+', 'COUNT', STEP)
    for _, row in ipairs(rows) do
      for i = 1, #row[2], 2 do
        if row[2][i] == 'from' and row[2][i + 1] == '' then count = count + 1 end
      end
    end
    if #rows < STEP then return count end
    from = rows[#rows][1]
  end
end

local function fate_of(id)
  if id == '' then return {'known', 0} end
  if #kept(KEY.changes, 'XRANGE', id, id) > 0 then return {'known', 0} end
  if not last then return {'gone', 0} end
  if #kept(KEY.changes, 'XRANGE', '-', id, 'COUNT', 1) == 0 then return {'trimmed', 0} end
  return {'unknown', accepted_after(id)}
end

local fates = {}
for i = 1, #ARGV do fates[i] = fate_of(ARGV[i]) end
local round = redis.pcall('HGET', KEY.totals, 'round')
local jobs = redis.call('EXISTS', KEY.changes, KEY.alarms, KEY.batches)
return {
  whole(clock()), last and last[1] or '', type(round) == 'string' and round or '', jobs > 0 and 1 or 0,
  redis.call('EXISTS', KEY.witness), epoch().run and epoch().run ~= run_id() and 1 or 0, record, fates,
}
