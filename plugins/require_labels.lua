-- require_labels: refuse pushes whose grouping key lacks a label that everybody must give.
return {
  api = 1,
  name = "require_labels",
  version = "1.0.0",
  on_error = "reject",
  config = {
    labels = { type = "list<string>", required = true, help = "grouping labels that every push must have" },
  },
  init = function(cfg)
    return {
      on_request = function(req)
        if req.method == "DELETE" then return end
        for _, name in ipairs(cfg.labels) do
          local value = req.group[name]
          if not value or value == "" then
            return gate.reject(422, "grouping label " .. name .. " is missing")
          end
        end
      end,
    }
  end,
}
