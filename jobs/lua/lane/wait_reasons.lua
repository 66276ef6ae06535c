-- Read what may keep jobs waiting, as of one moment (jobs.store.wait_reasons puts it into words).
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 batch id or ''
--       2 producer's key of jobs without a batch, or ''
--       3 lanes as JSON list
--       4 price classes as JSON list; '' for those of the batch's unfinished jobs
-- Returns: JSON: now; paused, doing, cap, spent (of the batch); key; today, reserved (by payer, as in
--   jobs.store.redis_keys), prices (by class), lanes (by name: hold, why, open, because). Numbers are text; absent
--   members are left out.
arity(4)
local batch, key = ARGV[1], ARGV[2]
local now = clock()
local found = {now = whole(now), key = key, today = {}, reserved = {}, prices = {}, lanes = {}}
local classes = ARGV[4] ~= '' and cjson.decode(ARGV[4]) or {}
if batch ~= '' then
  local batch_fields = redis.call('HMGET', KEY.batch .. batch, 'paused', 'do', 'cap', 'spent', 'key')
  found.paused, found.doing, found.cap, found.spent, found.key = batch_fields[1] or nil, batch_fields[2] or nil,
    batch_fields[3] or nil, batch_fields[4] or nil, batch_fields[5] or ''
  if ARGV[4] == '' then
    for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do
      classes[#classes + 1] = string.match(field, '^c:(.*)$')
    end
  end
end
local function add_money(who)
  found.reserved[who] = redis.call('HGET', KEY.reserved, who) or nil
  found.today[who] = redis.call('HGET', KEY.spent .. day_of(now), who) or nil
end
add_money('b' .. batch)
add_money('k' .. found.key)
for _, name in ipairs(cjson.decode(ARGV[3])) do
  add_money('l' .. name)
  local hold, why, open, because = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'why', 'open', 'because'))
  found.lanes[name] = {hold = hold or nil, why = why or nil, open = open or nil, because = because or nil}
end
for _, class in ipairs(classes) do
  found.prices[class] = redis.call('HGET', KEY.prices, class) or ''
  found.reserved['?' .. class] = redis.call('HGET', KEY.reserved, '?' .. class) or nil
end
return cjson.encode(found)
