local t = gate.test

t.case("a push without the label is refused", function()
  local r = t.push { job = "a", body = "up 1\n" }
  t.eq(r.status, 422)
  t.eq(r.reason, "grouping label team is missing")
  t.ok(not r.stored)
end)

t.case("a push with the label is stored", function()
  local r = t.push { job = "a", group = { team = "red" }, body = "up 1\n" }
  t.eq(r.status, 200)
  t.text(r, 'up{instance="",job="a",team="red"} 1')
end)

t.case("the label can be another one", function()
  t.config { label = "owner" }
  t.eq(t.push({ job = "a", group = { owner = "red" }, body = "up 1\n" }).status, 200)
  t.eq(t.push({ job = "a", group = { team = "red" }, body = "up 1\n" }).status, 422)
end)
