-- The stored images that jobs name: how often, and whether they are stored (jobs.images.images).
--
-- An image is stored once, whichever producers use it. `uses` counts how often unfinished jobs name each image in their
-- requests. While that is more than 0 the image stays, because it may have to be sent; afterwards images_old.lua may
-- remove it.

local function find_images(value, found)
  if type(value) == 'table' then
    for _, part in pairs(value) do find_images(part, found) end
  elseif type(value) == 'string' then
    local hash = #value == 77 and string.match(value, '^image:sha256:(%x+)$')
    if hash then found[hash] = (found[hash] or 0) + 1 end
  end
end

-- Return hash → how often a request names it. A prompt names no image, whatever it contains.
local function images_in(text)
  if not string.find(text, '"image:sha256:', 1, true) then return {} end
  local params, found = cjson.decode(text).params, {}
  params.prompt = nil
  find_images(params, found)
  return found
end

-- Return whether a producer has uploaded an image or sent it in a job: to others it is as if it were not stored. '': the
-- service itself, for which all are. Celery producers have no uploads of their own, so they may refer to all. Nothing is
-- noted of images that version 1 stored: they are any producer's.
local function has_image(hash, owner)
  if owner == '' or owner == ANYONE or owner == CELERY then return true end
  local holders = redis.call('HGET', KEY.holders, hash)
  return not holders or string.find(holders, ' ' .. owner .. ' ', 1, true) ~= nil
end

-- Note that a producer has uploaded an image. Returns whether it had not before.
local function note_holder(hash, owner, is_new)
  if not is_new and has_image(hash, owner) then return false end
  redis.call('HSET', KEY.holders, hash, (redis.call('HGET', KEY.holders, hash) or ' ') .. owner .. ' ')
  return true
end

local function all_stored(uses, owner)
  for hash in pairs(uses) do
    if not redis.call('ZSCORE', KEY.images, hash) or not has_image(hash, owner or '') then return false end
  end
  return true
end

-- Return the images that a staged upload names. While the upload is being accepted, each counts as named once more.
local function pinned_images(token)
  local uses = {}
  for _, hash in ipairs(redis.call('SMEMBERS', KEY.pinned .. token)) do uses[hash] = 1 end
  return uses
end

local function count_uses(uses, by, now)
  for hash, times in pairs(uses) do
    if redis.call('HINCRBY', KEY.uses, hash, by * times) <= 0 then
      redis.call('HDEL', KEY.uses, hash)
      redis.call('ZADD', KEY.images, 'XX', whole(now), hash)
    elseif by > 0 then
      redis.call('ZADD', KEY.images, 'XX', '+inf', hash)
    end
  end
end

-- Note that an image is used now, by something that is not a job.
local function touch_image(hash, now)
  local score = redis.call('ZSCORE', KEY.images, hash)
  if score and score ~= 'inf' then redis.call('ZADD', KEY.images, 'XX', whole(now), hash) end
end

local function drop_image(hash, kept, now)
  redis.call('ZREM', KEY.images, hash)
  redis.call('HDEL', KEY.kept, hash)
  redis.call('HDEL', KEY.holders, hash)
  redis.call('HINCRBY', KEY.totals, 'image_bytes', -kept.size)
  local owner = redis.call('HGET', KEY.image_owners, hash)
  if owner then
    redis.call('HDEL', KEY.image_owners, hash)
    count_held(KEY.stored_images, owner, -kept.size)
  end
  redis.call('ZADD', KEY.going, whole(now), kept.object)
end

-- Return the images that a job's request names. Those of a job that has ended may have been removed.
local function images_of(job) return images_in(redis.call('GET', KEY.text .. job.id)) end
local function has_images(job) return not job.names_images or all_stored(images_of(job)) end
