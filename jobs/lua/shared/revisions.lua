-- The earlier revisions of a job's request (jobs.revision): a list, oldest first, of what was refused or given up before
-- each correction. The present revision is the job's own request.

-- Return the earlier revisions of a job, decoded.
local function earlier_revisions(id)
  local found = {}
  for place, text in ipairs(redis.call('LRANGE', KEY.revisions .. id, 0, -1)) do found[place] = cjson.decode(text) end
  return found
end

-- Keep a request that a correction replaces. Its digest is kept as well, because an upload may compare many lines with it.
local function keep_revision(id, entry, text)
  redis.call('RPUSH', KEY.revisions .. id, entry)
  redis.call('SADD', KEY.revision_digests .. id, redis.sha1hex(text))
end

-- Return whether a request is one of a job's, in any revision. So a producer may repeat an upload after some of its jobs
-- were corrected.
local function has_request(id, text)
  return redis.call('GET', KEY.text .. id) == text
    or redis.call('EXISTS', KEY.revision_digests .. id) == 1
      and redis.call('SISMEMBER', KEY.revision_digests .. id, redis.sha1hex(text)) == 1
end
