-- NAME: say in one line what it is for.
---@type gate.Plugin
return {
  api = 1,
  name = "NAME",
  version = "0.1.0",
  on_error = "reject",
  config = {
    label = { type = "label", default = "team", help = "grouping label that every push must have" },
  },
  init = function(cfg)
    ---@type gate.Plugin
    return {
      on_request = function(req)
        if req.method ~= "DELETE" and not req.group[cfg.label] then
          return gate.reject(422, "grouping label " .. cfg.label .. " is missing")
        end
      end,
    }
  end,
}
