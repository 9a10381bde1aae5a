-- tenant: every group belongs to exactly one tenant, taken from the login or a trusted header.
return {
  api = 1,
  name = "tenant",
  version = "1.0.0",
  on_error = "reject",
  config = {
    label = { type = "label", default = "tenant" },
    users = { type = "map<string,string>", default = {}, help = "login name to tenant" },
    header = { type = "string", default = "", help = "trusted header, set by a proxy in front" },
    fallback = { type = "string", default = "", help = "tenant of unknown callers; empty rejects them" },
  },
  init = function(cfg)
    local function tenant_of(req)
      local by_login = req.user and cfg.users[req.user]
      if by_login then return by_login end
      if cfg.header ~= "" then
        local value = req:header(cfg.header)
        if value and value ~= "" then return value end
      end
      if cfg.fallback ~= "" then return cfg.fallback end
    end

    return {
      headers = cfg.header ~= "" and { cfg.header } or {},
      on_request = function(req)
        local tenant = tenant_of(req)
        if not tenant then
          return gate.reject(401, "no tenant for this caller", { www_authenticate = 'Basic realm="push"' })
        end
        local asked = req.group[cfg.label]
        if asked and asked ~= tenant then
          return gate.reject(403, "caller may not push for tenant " .. asked)
        end
        req.group[cfg.label] = tenant
      end,
    }
  end,
}
