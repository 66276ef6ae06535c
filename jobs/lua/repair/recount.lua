-- Read counters, and the records that may have changed since the caller read them, at one moment (jobs.audit.recount).
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 id of the last change that the caller knows
--       2 µs within which the alarm of an admitted job is due
--       3 most records to read
--       4 job ids as JSON
--       5 counters as JSON: {{key, field...}...}; without fields the whole hash
-- Returns: {'busy'} where too much has changed (read that first), or {'read', id of the last change, {{id, code of its
--   failure or '', field, value...}...}, {{field, value...}...}, {hash of an image that a committed upload names...},
--   time in µs}
arity(5)
local most, now = tonumber(ARGV[3]), clock()
local ids, seen = {}, {}
local function add(id)
  if not seen[id] then ids[#ids + 1] = id end
  seen[id] = true
end
local last = ARGV[1]
for _, change in ipairs(redis.call('XRANGE', KEY.changes, '(' .. last, '+', 'COUNT', most + 1)) do
  last = change[1]
  for i = 1, #change[2], 2 do
    if change[2][i] == 'id' then add(change[2][i + 1]) end
  end
end
for _, id in ipairs(cjson.decode(ARGV[4])) do add(id) end
-- An admission leaves no trace in the stream of changes.
local soon = whole(now + tonumber(ARGV[2]))
if #ids > most or redis.call('ZCOUNT', KEY.alarms, '-inf', soon) > 10 * most then return {'busy'} end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEY.alarms, '-inf', soon)) do
  if not seen[id] and redis.call('HEXISTS', KEY.job .. id, FIELD.admitted_by) == 1 then add(id) end
end
local records, counters, pinned = {}, {}, {}
for i, id in ipairs(ids) do
  local row = redis.call('HGETALL', KEY.job .. id)
  local code = redis.call('HGET', KEY.job .. id, FIELD.state) == 'failed'
    and code_of(redis.call('GET', KEY.result .. id)) or ''
  table.insert(row, 1, code)
  table.insert(row, 1, id)
  records[i] = row
end
for i, asked in ipairs(cjson.decode(ARGV[5])) do
  if #asked == 1 then
    counters[i] = redis.call('HGETALL', asked[1])
  else
    counters[i] = {}
    for j = 2, #asked do
      local value = redis.call('HGET', asked[1], asked[j])
      if value then
        counters[i][#counters[i] + 1] = asked[j]
        counters[i][#counters[i] + 1] = value
      end
    end
  end
end
for _, batch in ipairs(redis.call('ZRANGE', KEY.sweeps, 0, -1)) do
  local action, token = unpack(redis.call('HMGET', KEY.batch .. batch, 'do', 'only'))
  if action == 'commit' and token then
    for hash in pairs(pinned_images(token)) do pinned[#pinned + 1] = hash end
  end
end
return {'read', last, records, counters, pinned, whole(now)}
