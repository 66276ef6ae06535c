-- Indexes of what belongs to a producer. Of its jobs there is none: that would be another entry for each. Spans of time in
-- which its jobs were accepted let a list of them pass over what others enqueued in between (selection.lua). Jobs and
-- batches from before `indexed_from` have no spans and no entries.

-- Return a time of creation that no job or batch has, the newest one that is taken, and `indexed_from`; 0: there is none.
local function next_time(now)
  local last, from = read_numbers(KEY.totals, 'last', 'indexed_from')
  return math.max(now, last + 1), last, from
end

-- Note that jobs of an owner were accepted from one time to another. `before`: the newest time that was taken. If that is
-- the end of its last span, nobody else came in between: the span is extended.
local function note_span(owner, first, last, before)
  local spans = KEY.spans .. owner
  local newest = redis.pcall('ZREVRANGE', spans, 0, 0, 'WITHSCORES')
  if newest[1] and tonumber(newest[2]) == before then first = newest[1] end
  redis.pcall('ZADD', spans, last, first)
end

-- Return the span that contains a time or begins after it: first and last time; nil: there is none.
local function span_from(owner, at)
  local found = redis.pcall('ZRANGEBYSCORE', KEY.spans .. owner, whole(at), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return tonumber(found[1] or nil), tonumber(found[2] or nil)
end

-- Return whether a list of the owner's jobs would pass over a job that was created then.
local function lacks_span(owner, at)
  local from, first = read_number(KEY.totals, 'indexed_from'), span_from(owner, at)
  local kind = redis.call('TYPE', KEY.spans .. owner).ok
  return from > 0 and at >= from and not (first and first <= at) and (kind == 'zset' or kind == 'none')
end

-- Return the place from which a list of an owner's jobs goes on, so that it passes over times at which none of them was
-- accepted. A place is a time of creation, before which (`oldest`: after which) the list goes on; nil: it begins.
local indexed_from
local function pass_others(owner, place, oldest)
  indexed_from = indexed_from or read_number(KEY.totals, 'indexed_from')
  local spans, from = KEY.spans .. owner, indexed_from
  if owner == CELERY or from == 0 then return place end -- jobs without an owner count as those of CELERY, too
  local next_at = place and place + (oldest and 1 or -1) or not oldest and math.huge or 0
  if next_at < from then return place end
  local first, last = nil, nil
  if next_at < math.huge then first, last = span_from(owner, next_at) end
  if first == nil and oldest and redis.call('TYPE', spans).ok ~= 'zset' then return place end
  if first and first <= next_at then return place end
  if oldest then return first and first - 1 or math.huge end
  local newest = redis.pcall('ZREVRANGEBYSCORE', spans, next_at == math.huge and '+inf' or whole(next_at), '-inf',
    'WITHSCORES', 'LIMIT', 0, 1)
  if newest.err then return place end -- it is damaged
  return math.max(from, newest[2] and tonumber(newest[2]) + 1 or from)
end

-- Forget the spans that had jobs, given as {owner, time of creation}, and have none any more.
local function forget_spans(gone)
  local checked = {}
  for _, each in ipairs(gone) do
    local owner, at, known = each[1], each[2], checked[each[1]]
    if not known or at < known[1] or at > known[2] then
      local first, last = span_from(owner, at)
      if first and first <= at then
        checked[owner] = {first, last}
        local there = false
        for state in pairs(ALLOWED) do
          there = there or redis.call('ZCOUNT', KEY.state .. state, whole(first), whole(last)) > 0
        end
        if not there then redis.pcall('ZREM', KEY.spans .. owner, whole(first)) end
      end
    end
  end
end
