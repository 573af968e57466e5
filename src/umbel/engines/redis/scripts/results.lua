-- Records. A stored SUCCESS is final, whoever wrote it: its status is read from the bytes, in the
-- four serializers that Celery has. A compressed one can't be read here and has a marker beside it.

local COMPRESSED = '\0celery-compressed\0'

local function is_success(key, old)
  local head = string.sub(old, 1, 96)
  if string.match(head, '^%s*{"status":%s*"SUCCESS"') then return true end
  if string.sub(old, 1, #COMPRESSED) == COMPRESSED then
    return redis.call('EXISTS', 'umbel:final:' .. key) == 1
  end
  if string.match(head, '^[\128-\143]\166status\167SUCCESS')
    or string.match(head, '^\222..\166status\167SUCCESS') then return true end
  if string.find(head, '\140\6status\148\140\7SUCCESS', 1, true) then return true end
  if string.sub(old, 1, 1) == '{' then return false end
  return string.match(old, '^status: SUCCESS\n') ~= nil
    or string.find(old, '\nstatus: SUCCESS\n', 1, true) ~= nil
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
  if status == 'SUCCESS' and string.sub(data, 1, #COMPRESSED) == COMPRESSED then
    set('umbel:final:' .. key, ttl, '1')
  end
  redis.call('PUBLISH', key, data)
end
