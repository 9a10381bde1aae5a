-- Makes gate.test out of what the host gives: looks at answers, says what is wrong with them.
local host = ...

local function show(value, depth)
  if type(value) == "string" then return string.format("%q", value) end
  if type(value) ~= "table" or depth > 3 then return tostring(value) end
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  for i, key in ipairs(keys) do
    local text = show(value[key], depth + 1)
    parts[i] = key == i and text or tostring(key) .. " = " .. text
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

local function same(a, b, depth)
  if a == b or (a ~= a and b ~= b) then return true end
  if type(a) ~= "table" or type(b) ~= "table" or depth > 20 then return false end
  for key, value in pairs(a) do
    if not same(value, b[key], depth + 1) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function fail(text, message)
  if message ~= nil then text = tostring(message) .. ": " .. text end
  host.fail(text)
  error("failed", 3)
end

local t = {
  case = host.case, config = host.config, use = host.use, advance = host.advance, push = host.push,
}

function t.eq(got, expected, message)
  if not same(got, expected, 0) then
    fail("expected " .. show(expected, 0) .. ", got " .. show(got, 0), message)
  end
end

function t.ok(value, message)
  if not value then fail("expected something true, got " .. tostring(value), message) end
end

function t.fails(call, pattern)
  local ok, e = pcall(call)
  if ok then fail("expected a failure") end
  if pattern ~= nil and not string.find(tostring(e), pattern) then
    fail("expected a failure like " .. show(pattern, 0) .. ", got " .. show(tostring(e), 0))
  end
end

function t.text(reply, expected)
  local difference = host.difference(expected, reply.text)
  if difference then fail("the text differs (- expected, + got)\n" .. difference) end
end

return t
