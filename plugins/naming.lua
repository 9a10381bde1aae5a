-- naming: hold metric and label names to the Prometheus conventions.
return {
  api = 1,
  name = "naming",
  version = "1.0.0",
  on_error = "pass",
  config = {
    action = { type = "enum", values = { "reject", "drop", "warn" }, default = "reject" },
    ignore = { type = "list<string>", default = {}, help = "problem codes to leave alone" },
    prefixes = { type = "list<string>", default = {}, help = "allowed first words of a name" },
    exempt = { type = "selector", help = "families that are never checked" },
  },
  init = function(cfg)
    local ignored, allowed = {}, {}
    for _, code in ipairs(cfg.ignore) do ignored[code] = true end
    for _, word in ipairs(cfg.prefixes) do allowed[word] = true end
    local seen = gate.counter { name = "problems_total", help = "Naming problems found.", labels = { "code" } }

    local function problems(f)
      local out = {}
      for _, p in ipairs(f:lint()) do
        if not ignored[p.code] then out[#out + 1] = p.code end
      end
      if next(allowed) and not allowed[f.name:match("^[^_]+")] then out[#out + 1] = "prefix" end
      return out
    end

    return {
      on_family = function(f)
        if cfg.exempt and f:match(cfg.exempt) then return end
        local bad = problems(f)
        if #bad == 0 then return end
        for _, code in ipairs(bad) do seen:inc(1, code) end
        if cfg.action == "drop" then return gate.DROP end
        local what = f.name .. ": " .. table.concat(bad, ", ")
        if cfg.action == "reject" then return gate.reject(422, what) end
        gate.log.warn("naming problem", { family = f.name, codes = table.concat(bad, ",") })
      end,
    }
  end,
}
