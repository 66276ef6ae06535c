-- Check jobs that are not accepted: which ids are taken, and which images are missing. Nothing is written.
-- KEYS[1]: the prefix of all keys
-- ARGV: 1 the owner of the batch; '*': jobs of other producers are known, too
--       2 hashes of images that the upload itself would store, as JSON {hash: true}
--       3... id and request of each job
-- Returns: an outcome for each job: created (it would be) | known | conflict | imageless, then a space before each hash
--   of an image that is not stored
if #ARGV < 2 or (#ARGV - 2) % 2 ~= 0 then error('expected 2 + 2 per job arguments, got ' .. #ARGV) end
expect_installation()
local outcomes, own = {}, cjson.decode(ARGV[2])
for i = 3, #ARGV, 2 do
  local outcome = find_recorded(ARGV[i], ARGV[i + 1], ARGV[1]) or 'created'
  if outcome == 'created' then
    for hash in pairs(images_in(ARGV[i + 1])) do
      if not own[hash] and not all_stored({[hash] = 1}, ARGV[1]) then
        outcome = (outcome == 'created' and 'imageless' or outcome) .. ' ' .. hash
      end
    end
  end
  outcomes[#outcomes + 1] = outcome
end
return outcomes
