-- Reviews of a job's outputs (jobs.review): a hash by the number of the output. For a batch, an index of each mark holds
-- `<number>:<job id>`, by the creation of the job. All of it exists only where somebody has reviewed something.

-- Enter an output of a batch's job into the indexes of its marks, at a time, and remove it from those of other marks.
local function index_review(batch, id, number, marks, at)
  for mark in string.gmatch(MARKS, '.') do
    local index, member = KEY.marked .. mark .. '|' .. batch, number .. ':' .. id
    if string.find(marks, mark, 1, true) then
      redis.call('ZADD', index, at, member)
      redis.call('HSET', KEY.batch .. batch, 'reviewed', 1) -- batch.lua reads the indexes only then
    else
      redis.call('ZREM', index, member)
    end
  end
end

-- Forget all reviews of a job. `batch`: nil for a job without one.
local function forget_reviews(id, batch)
  for _, number in ipairs(batch and redis.call('HKEYS', KEY.reviews .. id) or {}) do
    index_review(batch, id, number, '')
  end
  redis.call('DEL', KEY.reviews .. id)
end
