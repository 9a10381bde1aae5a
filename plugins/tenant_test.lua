local t = gate.test

t.config { users = { bob = "blue" }, header = "X-Tenant" }

t.case("a caller without a tenant is refused", function()
  local r = t.push { job = "a", body = "up 1\n" }
  t.eq(r.status, 401)
  t.eq(r.headers["WWW-Authenticate"], 'Basic realm="push"')
  t.ok(not r.stored)
end)

t.case("a user may not push for another tenant", function()
  local r = t.push { job = "a", group = { tenant = "red" }, user = "bob", body = "up 1\n" }
  t.eq(r.status, 403)
  t.ok(not r.stored)
end)

t.case("the tenant becomes part of the key", function()
  local r = t.push { job = "a", user = "bob", body = "up 1\n" }
  t.eq(r.group.tenant, "blue")
  t.text(r, 'up{instance="",job="a",tenant="blue"} 1')
end)

t.case("a trusted header names the tenant of the others", function()
  local r = t.push { job = "a", headers = { ["x-tenant"] = "red" }, body = "up 1\n" }
  t.eq(r.group.tenant, "red")
end)

t.case("unknown callers can have a tenant", function()
  t.config { fallback = "rest", label = "team" }
  t.eq(t.push({ body = "up 1\n" }).group.team, "rest")
end)

t.case("a delete belongs to a tenant as well", function()
  t.push { job = "a", user = "bob", body = "up 1\n" }
  t.eq(t.push({ method = "DELETE", job = "a", group = { tenant = "blue" } }).status, 401)
  t.text(t.push { method = "DELETE", job = "a", user = "bob" }, "")
end)
