-- What may keep jobs waiting, as of one moment.
-- ARGV: batch or '', producer's key of jobs without a batch or '', lanes as JSON list, price classes as JSON list, or ''
--       for those of the batch's unfinished jobs
-- Returns: JSON: now; paused, doing, cap, spent (of the batch); key; today, reserved (by who, as in jobs.store.redis_keys), prices
--   (by class), lanes (by name: hold, why, open, because); numbers as text, members missing where there is none
arity(4)
local batch, key = ARGV[1], ARGV[2]
local now = clock()
local told = {now = whole(now), key = key, today = {}, reserved = {}, prices = {}, lanes = {}}
local classes = ARGV[4] ~= '' and cjson.decode(ARGV[4]) or {}
if batch ~= '' then
  local of = redis.call('HMGET', KEY.batch .. batch, 'paused', 'do', 'cap', 'spent', 'key')
  told.paused, told.doing, told.cap, told.spent, told.key = of[1] or nil, of[2] or nil, of[3] or nil, of[4] or nil, of[5] or ''
  if ARGV[4] == '' then
    for _, field in ipairs(redis.call('HKEYS', KEY.batch .. batch)) do classes[#classes + 1] = string.match(field, '^c:(.*)$') end
  end
end
local function money(who)
  told.reserved[who] = redis.call('HGET', KEY.reserved, who) or nil
  told.today[who] = redis.call('HGET', KEY.spent .. day_of(now), who) or nil
end
money('b' .. batch)
money('k' .. told.key)
for _, name in ipairs(cjson.decode(ARGV[3])) do
  money('l' .. name)
  local hold, why, open, because = unpack(redis.call('HMGET', KEY.lane .. name, 'hold', 'why', 'open', 'because'))
  told.lanes[name] = {hold = hold or nil, why = why or nil, open = open or nil, because = because or nil}
end
for _, class in ipairs(classes) do
  told.prices[class] = redis.call('HGET', KEY.prices, class) or ''
  told.reserved['?' .. class] = redis.call('HGET', KEY.reserved, '?' .. class) or nil
end
return cjson.encode(told)
