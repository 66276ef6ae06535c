redis.replicate_commands()
local KEY={sweeps=KEYS[1]..'sweeps',epoch=KEYS[1]..'epoch',images=KEYS[1]..'images',text=KEYS[1]..'t:',state=KEYS[1]..'s:',batch=KEYS[1]..'b:',staged=KEYS[1]..'u:',lines=KEYS[1]..'v:',pinned=KEYS[1]..'i:'}
local ALLOWED={queued={cancelled=true,completed=true,expired=true,failed=true,in_doubt=true,queued=true,submitting=true},submitting={cancelled=true,completed=true,failed=true,in_doubt=true,in_progress=true,queued=true},in_doubt={cancelled=true,completed=true,failed=true,in_progress=true,queued=true},in_progress={cancelled=true,completed=true,expired=true,failed=true,queued=true},completed={},failed={queued=true},cancelled={queued=true},expired={completed=true,failed=true,queued=true}}
local FINAL={cancelled=true,completed=true,expired=true,failed=true}
local function whole(number) return string.format('%.0f', number) end
local function find_images(value, found)
  if type(value) == 'table' then
    for _, part in pairs(value) do find_images(part, found) end
  elseif type(value) == 'string' then
    local hash = #value == 77 and string.match(value, '^image:sha256:(%x+)$')
    if hash then found[hash] = (found[hash] or 0) + 1 end
  end
end
local function images_in(text)
  if not string.find(text, '"image:sha256:', 1, true) then return {} end
  local params, found = cjson.decode(text).params, {}
  params.prompt = nil
  find_images(params, found)
  return found
end
local function all_stored(uses)
  for hash in pairs(uses) do
    if not redis.call('ZSCORE', KEY.images, hash) then return false end
  end
  return true
end
local current
local function epoch()
  if not current then
    local fields = redis.pcall('HMGET', KEY.epoch, 'number', 'before', 'calm', 'run', 'installation', 'lost')
    if fields.err then fields = {} end
    local function at(place) return tonumber(fields[place] or 0) or 0 end
    current = {number = whole(at(1)), before = at(2), calm = at(3), run = fields[4], lost = fields[6]}
    current.installation = fields[5] ~= '' and fields[5] or nil
  end
  return current
end
local function expect_installation()
  if epoch().lost then error('REFUSED [lost] [' .. epoch().lost .. ']') end
  if not epoch().installation then error('REFUSED [new] []') end
end
local function free_places(most)
  if most == '' then return nil end
  local free = tonumber(most)
  for state in pairs(ALLOWED) do
    if not FINAL[state] then free = free - redis.call('ZCARD', KEY.state .. state) end
  end
  for _, batch in ipairs(redis.call('ZRANGE', KEY.sweeps, 0, -1)) do
    local action, token = unpack(redis.call('HMGET', KEY.batch .. batch, 'do', 'only'))
    if action == 'commit' then free = free - redis.call('LLEN', KEY.staged .. token) end
  end
  return math.max(0, free)
end
if #ARGV < 3 or #ARGV % 3 ~= 0 then error('expected 3 + 3 per job arguments, got ' .. #ARGV) end
expect_installation()
local ids, lines, pinned = KEY.staged .. ARGV[1], KEY.lines .. ARGV[1], KEY.pinned .. ARGV[1]
local free = free_places(ARGV[3])
if free then free = free - redis.call('LLEN', ids) end
local outcomes = {}
for i = 4, #ARGV, 3 do
  local id, text = ARGV[i], ARGV[i + 1]
  local there = redis.call('GET', KEY.text .. id)
  if not there then
    local earlier = redis.call('HGET', lines, id)
    there = earlier and cmsgpack.unpack(earlier)[2]
  end
  if there then
    outcomes[#outcomes + 1] = there == text and 'known' or 'conflict'
  elseif not all_stored(images_in(text)) then
    outcomes[#outcomes + 1] = 'imageless'
  elseif free and free <= 0 then
    outcomes[#outcomes + 1] = 'full'
  else
    free = free and free - 1
    for hash in pairs(images_in(text)) do redis.call('SADD', pinned, hash) end
    redis.call('HSET', lines, id, cmsgpack.pack({unpack(ARGV, i, i + 2)}))
    redis.call('RPUSH', ids, id)
    outcomes[#outcomes + 1] = 'created'
  end
end
redis.call('EXPIRE', ids, ARGV[2])
redis.call('EXPIRE', lines, ARGV[2])
redis.call('EXPIRE', pinned, ARGV[2])
return outcomes
