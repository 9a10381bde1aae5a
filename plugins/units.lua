-- units: rename deprecated metrics and turn unusual units into base units.
local UNITS = {
  ns = { "seconds", 1e-9 }, us = { "seconds", 1e-6 }, ms = { "seconds", 1e-3 },
  millis = { "seconds", 1e-3 }, milliseconds = { "seconds", 1e-3 }, minutes = { "seconds", 60 },
  kb = { "bytes", 1024 }, mb = { "bytes", 1048576 }, percent = { "ratio", 0.01 },
}

return {
  api = 1,
  name = "units",
  version = "1.0.0",
  on_error = "pass",
  config = {
    rename = { type = "map<string,string>", default = {}, help = "old name to new name" },
    keep_old = { type = "boolean", default = false, help = "store both names for a while" },
    skip = { type = "list<string>", default = {}, help = "unit words to leave alone" },
  },
  init = function(cfg)
    local moved = gate.counter { name = "families_total", help = "Families changed.", labels = { "reason" } }
    local units = {} ---@type table<string, table>
    for word, to in pairs(UNITS) do units[word] = to end
    for _, word in ipairs(cfg.skip) do units[word] = nil end

    -- own: may this family itself be renamed, or must a copy be made first?
    local function move(f, own, name, factor, reason)
      moved:inc(1, reason)
      if not own then f = f:copy(name) end
      if factor then f:scale(factor) end -- before the rename, which may merge into a family of that name
      if own then f.name = name end
      return f
    end

    return {
      on_family = function(f)
        local own, new = not cfg.keep_old, cfg.rename[f.name]
        if new then f, own = move(f, own, new, nil, "rename"), true end
        local base, tail = f.name, ""
        if base:sub(-6) == "_total" then base, tail = base:sub(1, -7), "_total" end
        local stem, word = base:match("^(.+)_(%a+)$")
        local to = word and units[word]
        if to then move(f, own, stem .. "_" .. to[1] .. tail, to[2], "unit") end
      end,
    }
  end,
}
