-- Whether all that stands beside a record agrees with it: alarm, indexes, labels, what it has reserved, parked messages. And
-- put it right. What follows from the record alone is made anew, so that it may be done at any time, and twice.
-- ARGV: '1' to mend ('0': only look), µs until a submission without an alarm counts as over, id
-- Returns: what is wrong, a word for each (jobs.audit.audit); `request` cannot be mended
arity(3)
local mend, id, now, wrong = ARGV[1] == '1', ARGV[3], clock(), {}
local job, odd = read(id)
if odd then return wrong end
local function found(word) wrong[#wrong + 1] = word; return mend end
-- Whether the id stands in a sorted set at that time; nil: not at all.
local function stands(word, key, score)
  local there = tonumber(redis.call('ZSCORE', key, id) or nil)
  score = tonumber(score or nil)
  if there == score or not found(word) then return end
  if score then redis.call('ZADD', key, whole(score), id) else redis.call('ZREM', key, id) end
end

for state in pairs(ALLOWED) do stands('index', KEY.state .. state, job and job.state == state and job.created_at) end
stands('doubt', KEY.doubts, job and job.doubt_since)
local given_up = redis.call('ZSCORE', KEY.undelivered, id)
if (given_up and true or false) ~= (job and job.undelivered and true or false) then stands('undelivered', KEY.undelivered, job and job.undelivered and now) end
local parked = redis.call('HKEYS', KEY.parked .. id)
if not job then
  stands('alarm', KEY.alarms, nil)
  if #parked > 0 and found('parked') then
    for _, task in ipairs(parked) do
      if redis.call('GET', KEY.celery .. task) == id then redis.call('DEL', KEY.celery .. task) end
    end
    redis.call('DEL', KEY.parked .. id)
  end
  return wrong
end

-- Admitted, or with money reserved, although nothing of the kind is under way. Their counters have a recount of their own.
if job.admitted_by and job.state ~= 'queued' and found('window') then save(job, RECORD{admitted_by = false}) end
if job.reserved and not job.admitted_by and not HOLDS[phase_of(job)] and found('reserved') then save(job, RECORD{reserved = false}) end
if #parked > 0 and not FINAL[job.state] and not string.find(job.owed_at_end or '', 'c', 1, true) and found('parked') then
  save(job, RECORD{owed_at_end = (job.owed_at_end or '') .. 'c'})
end
local labels = redis.call('GET', KEY.labels .. id)
for name, value in pairs(labels and cjson.decode(labels) or {}) do stands('label', KEY.labelled .. name .. '=' .. value, job.created_at) end
if redis.call('EXISTS', KEY.text .. id) == 0 then found('request') end
local needed = phase_of(job) or job.owed
if not needed then
  stands('alarm', KEY.alarms, nil)
elseif not redis.call('ZSCORE', KEY.alarms, id) and found('alarm') then
  -- Its look or its delivery is due now; who is sending it just now has the time of a lease.
  local at = phase_of(job) == 'submitting' and now + tonumber(ARGV[2]) or now
  if FINAL[job.state] and job.phase and job.owed then save(job, RECORD{lookup_at = job.lookup_at or at, delivery_at = job.delivery_at or now}) end
  alarm(job, FINAL[job.state] and job.owed and now or at)
end
return wrong
