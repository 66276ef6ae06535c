-- The earlier revisions of a job's request (jobs.revision): a list, oldest first, of what was refused or given up before
-- each correction. The present revision is the job's own request.

-- Return the earlier revisions of a job, decoded.
local function earlier_revisions(id)
  local found = {}
  for place, text in ipairs(redis.call('LRANGE', KEY.revisions .. id, 0, -1)) do found[place] = cjson.decode(text) end
  return found
end

-- Return whether a request is one of a job's, in any revision. So a producer may repeat an upload after some of its jobs
-- were corrected.
local function has_request(id, text)
  if redis.call('GET', KEY.text .. id) == text then return true end
  for _, earlier in ipairs(earlier_revisions(id)) do
    if earlier.text == text then return true end
  end
  return false
end
