-- needs: results
-- ARGV: key, status, ttl, data, ...
for i = 1, #ARGV, 4 do store(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]) end
return 1
