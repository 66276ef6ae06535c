-- Read what jobs that are not accepted yet would cost and wait for, as of one moment.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 the producer
--       2 their price classes, as a JSON list
--       3 the pools that they would wait in, as a JSON list
--       4 the lanes of these pools, as a JSON list
--       5 limits of unfinished jobs as JSON (jobs.room); '' for none
-- Returns: JSON; absent members are left out:
--   now      µs, as text
--   classes  {price class: forecast_of in shared/forecast.lua}
--   pace     pace_of there
--   free     how many more jobs the producer may add; absent without a limit
--   key      {spent, unknown}: by the producer today, in nano-dollars as text, and results of unknown cost; and reserved
--   lanes    {name: the same of the lane, and closed: {open = since when, because} | {hold = until when, why}}
arity(5)
expect_installation()
local owner, now = ARGV[1], clock()
local function today_of(payer)
  local spent, unknown = spent_today(payer, now)
  return {spent = whole(spent), unknown = unknown, reserved = whole(read_number(KEY.reserved, payer))}
end
local found = {now = whole(now), classes = {}, pace = pace_of(cjson.decode(ARGV[3])), free = free_places(ARGV[5]),
  key = today_of(PAYER.key .. owner), lanes = {}}
if found.free == math.huge then found.free = nil end
for _, class in ipairs(cjson.decode(ARGV[2])) do found.classes[class] = forecast_of(class, owner) end
for _, name in ipairs(cjson.decode(ARGV[4])) do
  found.lanes[name] = today_of(PAYER.lane .. name)
  found.lanes[name].closed = closed_state(name, now)
end
return cjson.encode(found)
