-- Records. A stored SUCCESS is final, whoever wrote it: its status is read from the bytes, in the
-- four serializers that Celery has. One that can't be read so (compressed, or in a serializer of the
-- user's) has a marker beside it, with the checksum of the very bytes that are final.

local function reads_as_success(data)
  if string.sub(data, 1, 20) == '{"status": "SUCCESS"' then return true end
  local head = string.sub(data, 1, 96)
  return string.match(head, '^{"status": *"SUCCESS"') ~= nil
    or string.match(head, '^[\128-\143]\166status\167SUCCESS') ~= nil -- msgpack
    or string.match(head, '^\222..\166status\167SUCCESS') ~= nil
    or string.find(head, '\140\6status\148\140\7SUCCESS', 1, true) ~= nil -- pickle
    or string.match(head, '^status: SUCCESS\n') ~= nil -- yaml
    or string.match(head, '^[%w_]+:') ~= nil and string.find(data, '\nstatus: SUCCESS\n', 1, true)
      ~= nil
end

local function is_success(key, old)
  if reads_as_success(old) then return true end
  if string.sub(old, 1, 12) == '{"status": "' then return false end
  return redis.call('GET', 'umbel:final:' .. key) == redis.sha1hex(old)
end

local function overwrite(key, ttl, data)
  if ttl == '0' then redis.call('SET', key, data) else redis.call('SET', key, data, 'EX', ttl) end
end

local function store(key, status, ttl, data)
  local call, is_first = redis.call, nil
  if ttl == '0' then
    is_first = call('SET', key, data, 'NX')
  else
    is_first = call('SET', key, data, 'NX', 'EX', ttl)
  end
  if not is_first then
    local old = redis.pcall('GET', key)
    if type(old) == 'string' and is_success(key, old) then return end
    overwrite(key, ttl, data)
  end
  if status == 'SUCCESS' and not reads_as_success(data) then
    overwrite('umbel:final:' .. key, ttl, redis.sha1hex(data))
  end
  call('PUBLISH', key, data)
end
