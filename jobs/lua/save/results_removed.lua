-- Record that the saved outputs of a job no longer exist.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 job id
--       2 result as JSON, as it was read
--       3 the same, with the time of the removal
-- Returns: removed | changed (the result is not as it was read: read it again)
-- A repeat is `changed`.
arity(3)
if redis.call('GET', KEY.result .. ARGV[1]) ~= ARGV[2] then return 'changed' end
redis.call('SET', KEY.result .. ARGV[1], ARGV[3], 'KEEPTTL')
return 'removed'
