-- Counters of the ends of jobs, by minute (jobs/history.py). roll_history.lua moves them to their hour.

-- Return the bucket of a time in µs; '-' where it is not known.
local function bucket_of(time)
  if not time then return '-' end
  local steps = 2 * math.log(math.max(time, 1) / FIRST_BOUND) / math.log(2)
  return whole(math.max(0, math.min(MOST_BUCKET, math.floor(steps) + 1)))
end

-- Count in a cell of a hash. Where the hash has too many, a new cell counts without its owner. Returns whether the cell
-- is new.
local function count_cell(key, cell, count)
  if redis.call('HINCRBY', key, cell, count) ~= tonumber(count) then return false end
  if redis.call('HLEN', key) > MOST_CELLS then
    redis.call('HDEL', key, cell)
    redis.call('HINCRBY', key, string.match(cell, '^[^|]*|[^|]*|[^|]*|[^|]*|'), count)
  end
  return true
end

-- Count the end of a job. `waited`, `took`: µs; nil where they are not known.
local function count_in_history(job, now, waited, took)
  local minute = whole(math.floor(now / 60000000))
  local cell = string.match(EVENTS_OF_STATES, job.state .. '=(%u)') .. '|' .. (#caused_by == 1 and caused_by or '') .. '|'
    .. bucket_of(waited) .. '|' .. bucket_of(took) .. '|' .. owner_of_job(job)
  if count_cell(KEY.ended_minute .. minute, cell, 1) then redis.call('ZADD', KEY.ended_minutes, minute, minute) end
end
