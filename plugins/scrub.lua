-- scrub: keep personal data and random-looking values out of labels. Pure, so each series costs Lua once.
return {
  api = 1,
  name = "scrub",
  version = "1.0.0",
  on_error = "reject",
  config = {
    action = { type = "enum", values = { "mask", "hash", "drop" }, default = "mask" },
    salt = { type = "secret", default = "", help = "key for action hash" },
    keep = { type = "list<string>", default = { "job", "instance", "version", "revision" } },
    entropy = { type = "number", default = 2.9, help = "bits per byte of a long run; 0 switches it off" },
  },
  init = function(cfg)
    local kinds = {
      { "email", gate.re("[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+[.][A-Za-z0-9.-]+") },
      { "uuid", gate.re("(?i)[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}") },
      { "token", gate.re("eyJ[A-Za-z0-9_-]{8,}[.][A-Za-z0-9_-]{8,}|AKIA[0-9A-Z]{16}") },
      { "ip", gate.re("\\b(?:[0-9]{1,3}[.]){3}[0-9]{1,3}\\b") },
    }
    local long_run = gate.re("[A-Za-z0-9+=]{20,}") -- paths, host and pod names break into shorter runs
    local keep = {}
    for _, name in ipairs(cfg.keep) do keep[name] = true end

    local function kind_of(value)
      for _, k in ipairs(kinds) do
        if k[2]:test(value) then return k[1] end
      end
      if gate.luhn(value) then return "card" end
      local run = cfg.entropy > 0 and long_run:match(value)
      if run and run:find("%d.*%d.*%d") and run:find("%a") and gate.entropy(run) >= cfg.entropy then
        return "random"
      end
    end

    return {
      on_series = function(s)
        for name, value in s:each() do
          local kind = not keep[name] and kind_of(value)
          if kind then
            if cfg.action == "drop" then
              s:set(name, nil)
            elseif cfg.action == "hash" then
              s:set(name, kind .. ":" .. gate.hmac(cfg.salt, value):sub(1, 12))
            else
              s:set(name, "<" .. kind .. ">")
            end
          end
        end
      end,
    }
  end,
}
