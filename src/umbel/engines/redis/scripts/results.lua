-- Records. A stored SUCCESS is final, whoever wrote it: its status is read from the bytes, in the
-- four serializers that Celery has. One that can't be read so (compressed, or in a serializer of the
-- user's) has a marker beside it, with the checksum of the very bytes that are final.

local function reads_as_success(data)
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

local function set(key, ttl, data, ...)
  if ttl == '0' then return redis.call('SET', key, data, ...) end
  return redis.call('SET', key, data, 'EX', ttl, ...)
end

local function store(key, status, ttl, data)
  if not set(key, ttl, data, 'NX') then
    local old = redis.pcall('GET', key)
    if type(old) == 'string' and is_success(key, old) then return end
    set(key, ttl, data)
  end
  if status == 'SUCCESS' and not reads_as_success(data) then
    set('umbel:final:' .. key, ttl, redis.sha1hex(data))
  end
  redis.call('PUBLISH', key, data)
end
