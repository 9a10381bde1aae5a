-- relabel: run Prometheus relabel rules from the configuration. No Lua on the hot path.
return {
  api = 1,
  name = "relabel",
  version = "1.0.0",
  on_error = "reject",
  config = {
    rules = { type = "relabel", required = true, help = "a metric_relabel_configs list" },
    only = { type = "selector", help = "apply to matching series only" },
  },
  init = function(cfg)
    return { relabel = gate.relabel(cfg.rules, { only = cfg.only }) }
  end,
}
