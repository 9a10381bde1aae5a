-- Runs once in every machine, before the libraries are frozen: takes away what plugins must not have,
-- and puts a price on library functions whose work grows with their arguments.
local charge, plain_find, impure, message = ...

local function errors(inner)
  return function(ok, ...)
    if ok then return ok, ... end
    return ok, message((...))
  end
end
local settle = errors()

local raw_pcall, raw_xpcall = pcall, xpcall
local function safe_pcall(f, ...)
  return settle(raw_pcall(f, ...))
end
local function safe_xpcall(f, handler, ...)
  return raw_xpcall(f, function(e) return handler(message(e)) end, ...)
end

local type, select, tonumber_raw = type, select, tonumber
local function size(s)
  return type(s) == "string" and #s or 0
end
local function by_text(f)
  return function(s, ...)
    charge(size(s) / 64)
    return f(s, ...)
  end
end
local function by_table(f)
  return function(t, ...)
    charge(type(t) == "table" and #t / 16 or 0)
    return f(t, ...)
  end
end

local find, rep, split, sort = string.find, string.rep, string.split, table.sort
string.find = function(s, p, init, plain)
  local done, from, to = plain_find(s, p, init, plain)
  if done then
    if from then return from, to end
    return nil
  end
  charge(size(s) / 64)
  return find(s, p, init, plain)
end
string.rep = function(s, n, sep)
  charge((size(s) + size(sep)) * math.max(tonumber_raw(n) or 0, 0) / 64)
  return rep(s, n, sep)
end
string.split = function(s, sep)
  charge(size(s) * math.max(size(sep), 1) / 64)
  return split(s, sep)
end
for _, name in { "upper", "lower", "reverse", "gsub", "gmatch", "match", "format", "unpack" } do
  string[name] = by_text(string[name])
end

local insert, remove = table.insert, table.remove
table.sort = function(t, by)
  charge(type(t) == "table" and #t or 0)
  return sort(t, by)
end
table.insert = function(t, ...)
  if select("#", ...) > 1 then charge(type(t) == "table" and #t / 16 or 0) end
  return insert(t, ...)
end
table.remove = function(t, ...)
  if select("#", ...) > 0 then charge(type(t) == "table" and #t / 16 or 0) end
  return remove(t, ...)
end
for _, name in { "concat", "clone", "find", "clear", "unpack", "maxn", "freeze" } do
  if table[name] then table[name] = by_table(table[name]) end
end
local create = table.create
table.create = function(n, v)
  charge(math.max(tonumber_raw(n) or 0, 0) / 16)
  return create(n, v)
end
for _, name in { "len", "offset", "codepoint", "codes" } do
  utf8[name] = by_text(utf8[name])
end
local function by_buffer(f)
  return function(b, ...)
    charge(type(b) == "buffer" and buffer.len(b) / 64 or size(b) / 64)
    return f(b, ...)
  end
end
for _, name in { "fill", "copy", "tostring", "fromstring", "readstring", "writestring" } do
  buffer[name] = by_buffer(buffer[name])
end
local new_buffer = buffer.create
buffer.create = function(n)
  charge(math.max(tonumber_raw(n) or 0, 0) / 64)
  return new_buffer(n)
end

table.move, table.foreach, table.foreachi, table.getn = nil, nil, nil, nil
local random = math.random
math.random = function(...)
  impure("math.random")
  return random(...)
end
math.randomseed = nil

return {
  assert = assert, error = error, ipairs = ipairs, next = next, pairs = pairs, select = select,
  tonumber = by_text(tonumber), tostring = tostring, type = type, typeof = typeof,
  rawequal = rawequal, rawget = rawget, rawlen = rawlen, rawset = rawset,
  setmetatable = setmetatable, getmetatable = getmetatable, unpack = table.unpack,
  pcall = safe_pcall, xpcall = safe_xpcall,
  string = string, table = table, math = math, bit32 = bit32, utf8 = utf8, buffer = buffer,
}
