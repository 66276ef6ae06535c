-- Take waiting jobs out of the queue, as slots, rate and holds allow, for messages to workers. An admitted job stays
-- `queued`; it counts against the window until a worker claims it. If its message is lost, its alarm puts it back.
-- ARGV: most jobs to take, most images admitted and not yet claimed, slots (0 = no limit), submissions a second (0 = no
--       limit), burst in µs, µs until an admitted job that nobody claimed is put back
-- Returns: {whether more could be admitted at once (0|1), ids...}
arity(6)
local limit, window_max, slots_max = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local rate, burst, putback = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local now = clock()
redis.call('DEL', KEY.wake)
local answer = {0}
if lane('hold') > now then return answer end

local slots, window = lane('slots'), lane('window')
local budget = window_max - window
if slots_max > 0 then budget = math.min(budget, slots_max - slots - window) end
if lane('level') > 0 then
  -- The last answer was a refusal of the whole lane: one job goes ahead and finds out whether that is over.
  if window > 0 or redis.call('ZCARD', KEY.state .. 'submitting') > 0 then return answer end
  limit = 1
end

-- GCRA: `tat` is the theoretical arrival time of the next submission.
local step = rate > 0 and 1000000 / rate or 0
local tat = math.max(lane('tat'), now)
local taken = 0

-- Take one job if it may go; false: neither may any behind it.
local function take(batch, id)
  local job = load(id)
  if job then
    local n = images(job)
    -- A job of more images than there are slots would wait for ever; it goes when it has the lane to itself.
    local alone = slots_max > 0 and n > slots_max and slots + window + taken == 0
    if n > budget - taken and not alone then return false end
    if step > 0 and tat - now > burst then return false end
    tat = tat + step
    taken = taken + n
    save(job, {w = '1'})
    alarm(job, now + putback)
    answer[#answer + 1] = id
  end
  redis.call('ZREM', KEY.ready .. batch, id) -- without a record, too: it would stop the queue for ever
  return true
end

local open = true
while open and #answer - 1 < limit do
  local first = redis.call('ZRANGE', KEY.queues, 0, 1, 'WITHSCORES')
  if #first == 0 then break end
  local batch, left = first[1], 0
  -- As far as this queue is older than the next one.
  local ids = redis.call('ZRANGEBYSCORE', KEY.ready .. batch, '-inf', first[4] or '+inf', 'LIMIT', 0, limit - #answer + 1)
  for _, id in ipairs(ids) do
    open = take(batch, id)
    if not open then break end
    left = left - 1
  end
  if #ids == 0 then head(batch) else grown(batch, left) end
end
if taken > 0 then
  redis.call('HINCRBY', KEY.lane, 'window', taken)
  if step > 0 then redis.call('HSET', KEY.lane, 'tat', whole(tat)) end
  if #answer - 1 == limit and limit > 1 and redis.call('ZCARD', KEY.queues) > 0 then answer[1] = 1 end
end
return answer
