-- Read what keeps a job, or the jobs of a batch, waiting, as of one moment. The rules are those of admission;
-- jobs.store.wait_reasons converts the answer to text.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id, or ''
--       2 job id; '' for the unfinished jobs of the batch
--       3 lanes that they may go to, as JSON list
--       4 caps as JSON: {"keys": {key: nano-dollars a day}, "lanes": {lane: nano-dollars a day}}
-- Returns: JSON; absent members are left out:
--   now      µs, as text
--   halted   of the batch: why it is paused (pause_batch in shared/queues.lua) | 'cancel'
--   pilot    the same, where the job, or all jobs of the batch but its pilot, wait for an approval: {size, count, left}:
--            of the pilot that was asked for, has begun and has not ended, as text; {} without one
--   unknown  of the batch: jobs of unknown cost that are not waived, as text
--   cap      of the batch in nano-dollars, as text
--   key      the producer's key
--   lanes    those that are closed: {name: {open = since when, because} | {hold = until when, why}
--            | {paused = why, paused_until}}
--   classes  {price class: {batch = stop, key = stop, lanes = {name: stop}}}, where a stop is {why, price, left}: see
--            stopped_at_cap in shared/money.lua. The price, and what is neither spent nor reserved, are text
arity(4)
local batch, lanes, caps = ARGV[1], cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
local now = clock()
local found, classes = {now = whole(now), key = '', lanes = {}, classes = {}}, {}
local cap
if batch ~= '' then
  local of_batch = batch_of(batch)
  if of_batch.broken then damaged('batch ' .. batch, 'its limits cannot be read') end
  if is_halted(PAYER.pilot, batch) then
    found.halted = redis.call('HGET', KEY.batch .. batch, 'paused') or 'cancel'
  end
  if of_batch.hold then
    local size, count, left = unpack(redis.call('HMGET', KEY.batch .. batch, 'pilot_size', 'pilot', 'pilot_left'))
    found.pilot = {size = size or nil, count = count or nil, left = left or nil}
  end
  found.key, cap = of_batch.owner, of_batch.cap
  found.cap, found.unknown = cap and whole(cap), whole(of_batch.unknown)
end
if ARGV[2] ~= '' then
  local job = read(ARGV[2])
  if job then found.key, classes = owner_of_job(job), {class_of(job)} end
  if job and job.pilot then found.pilot = nil end
else
  for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do
    classes[#classes + 1] = string.match(field, '^' .. BATCH.unfinished .. '(.*)$')
  end
end
for _, name in ipairs(lanes) do
  found.lanes[name] = closed_state(name, now)
end
for _, class in ipairs(classes) do
  local function stop(limit, payer, spent, unknown)
    local why, _, price = stopped_at_cap(class, found.key, limit, payer, spent, unknown)
    local left = math.max(0, limit - spent - read_number(KEY.reserved, payer))
    return why and {why = why, price = price and whole(price), left = whole(left)}
  end
  local stops = {lanes = {}}
  if cap then stops.batch = stop(cap, PAYER.batch .. batch, batch_of(batch).spent, batch_of(batch).unknown) end
  local of_key = caps.keys[found.key]
  if of_key then
    local payer = PAYER.key .. found.key
    stops.key = stop(of_key, payer, spent_today(payer, now))
  end
  for _, name in ipairs(lanes) do
    local of_lane = caps.lanes[name]
    local payer = PAYER.lane .. name
    if of_lane then stops.lanes[name] = stop(of_lane, payer, spent_today(payer, now)) end
  end
  found.classes[class] = stops
end
return cjson.encode(found)
