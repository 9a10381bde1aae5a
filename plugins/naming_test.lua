local t = gate.test

local good = "# HELP done_total x\n# TYPE done_total counter\ndone_total 1\n"
local bad = "# HELP badName x\n# TYPE badName counter\nbadName 1\n"

t.case("a name against the conventions is refused", function()
  local r = t.push { body = good .. bad }
  t.eq(r.status, 422)
  t.eq(r.reason, "badName: counter_total, camel_case")
  t.eq(t.push({ body = good }).status, 200)
end)

t.case("or dropped", function()
  t.config { action = "drop" }
  local r = t.push { job = "a", body = good .. bad }
  t.text(r, 'done_total{instance="",job="a"} 1')
  t.eq(r.dropped, 1)
end)

t.case("or only logged", function()
  t.config { action = "warn" }
  local r = t.push { body = bad }
  t.ok(r.stored)
  t.eq(r.log, { 'naming: warn: naming problem codes="counter_total,camel_case" family="badName"' })
end)

t.case("problems can be left alone and families exempt", function()
  t.config { ignore = { "help" }, exempt = '{legacy="yes"}' }
  t.eq(t.push({ body = "no_help 1\n" }).status, 200)
  t.eq(t.push({ body = 'badName{legacy="yes"} 1\n' }).status, 200)
end)

t.case("the first word can be asked for", function()
  t.config { ignore = { "help" }, prefixes = { "shop" } }
  t.eq(t.push({ body = "shop_sales 1\n" }).status, 200)
  t.eq(t.push({ body = "other_sales 1\n" }).reason, "other_sales: prefix")
end)
