-- sanitize: put right what careless clients send: names with dashes and blanks, null values, repeated lines.
return {
  api = 1,
  name = "sanitize",
  version = "1.0.0",
  on_error = "reject",
  lenient_names = true,
  config = {
    null = { type = "enum", values = { "drop", "zero", "nan", "reject" }, default = "drop",
      help = "what becomes of lines whose value is the word null" },
    repeated = { type = "enum", values = { "sum", "first", "last", "reject" }, default = "sum",
      help = "what becomes of lines with equal names and labels; sum: gauges keep the last" },
  },
  init = function(cfg)
    local fixed = gate.counter { name = "fixed_total", help = "Things put right.", labels = { "what" } }
    ---@type table<string, boolean>
    local plain = { counter = true, gauge = true, untyped = true }

    -- Cheap where nothing is wrong: names are looked at in the host, and made anew only where they must be.
    local function names(push)
      for s in push:samples() do
        if s.n_labels > 0 then
          for name in s:each() do
            if not gate.valid_label(name) then
              local better = gate.sanitize(name, "label")
              while s:has(better) do better = better .. "_" end
              s:rename(name, better)
              fixed:inc(1, "label")
            end
          end
        end
      end
      for f in push:families() do
        if not gate.valid_metric(f.name) then
          -- Onto a family of another type nothing can be moved.
          if not pcall(function() f.name = gate.sanitize(f.name) end) then
            return gate.reject(422, f.name .. " is written like a metric of another type")
          end
          fixed:inc(1, "name")
        end
      end
    end

    local function nulls(push)
      for s in push:samples() do
        if s.null then
          fixed:inc(1, "null")
          if cfg.null == "drop" then
            s:drop()
          elseif cfg.null == "zero" then
            s.value = 0
          elseif cfg.null == "nan" then
            s.value = 0 / 0
          else
            return gate.reject(422, s.name .. " has no value")
          end
        end
      end
    end

    local function key_of(s)
      local parts = { s.name }
      for name, value in s:each() do
        parts[#parts + 1] = #name .. ":" .. name .. #value .. ":" .. value
      end
      return table.concat(parts, " ")
    end

    -- What each series that comes more than once is worth in the end.
    local function repeated(push)
      local seen, worth = {}, nil
      for s in push:samples() do
        if plain[s.type] then
          local key, value = key_of(s), s.value
          local before = seen[key]
          if before == nil then
            seen[key] = value
          else
            worth = worth or {}
            if cfg.repeated == "sum" and s.type ~= "gauge" then
              value = before + value
            elseif cfg.repeated == "first" then
              value = before
            elseif cfg.repeated == "reject" then
              return gate.reject(422, s.name .. " is there twice with the same labels")
            end
            seen[key], worth[key] = value, value
          end
        end
      end
      if not worth then return end
      local done = {}
      for s in push:samples() do
        local key = plain[s.type] and key_of(s)
        if key and worth[key] then
          if done[key] then
            s:drop()
            fixed:inc(1, "repeated")
          else
            s.value, done[key] = worth[key], true
          end
        end
      end
    end

    return {
      on_push = function(push)
        return names(push) or nulls(push) or repeated(push)
      end,
    }
  end,
}
