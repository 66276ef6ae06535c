-- Check that a day on which something was spent stands in the list of days; enter it where it is missing.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 '1' to repair, '0' only to check
--       2 day since 1970
-- Returns: {'day'} where it is missing, else {}
arity(2)
if redis.call('EXISTS', KEY.spent .. ARGV[2]) == 0 or redis.call('ZSCORE', KEY.days, ARGV[2]) then return {} end
if ARGV[1] == '1' then redis.call('ZADD', KEY.days, ARGV[2], ARGV[2]) end
return {'day'}
