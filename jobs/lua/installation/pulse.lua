-- Read the signs of life of the service, as of one moment.
-- KEYS[1]: the prefix of all keys
-- ARGV: none
-- Returns: {now in µs, when a round of reconcile last began in µs or '', when rounds last went on after a stall in µs or
--   '', 1 where the record of the installation is there, why no work is accepted or '', the heartbeats as
--   {field, value, ...}: see heartbeat.lua, until when results are saved in µs or '' (announce_saves.lua)}
arity(0)
local rounds = redis.pcall('HMGET', KEY.totals, 'round', 'resumed', 'saves_until')
if rounds.err then rounds = {} end -- a value of another type counts as none
local heartbeats = redis.pcall('HGETALL', KEY.heartbeats)
if heartbeats.err then heartbeats = {} end
return {whole(clock()), rounds[1] or '', rounds[2] or '', epoch().installation and 1 or 0, epoch().lost or '', heartbeats,
  rounds[3] or ''}
