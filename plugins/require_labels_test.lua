local t = gate.test

t.config { labels = { "team", "zone" } }

t.case("a push without the labels is refused", function()
  local r = t.push { body = "up 1\n" }
  t.eq(r.status, 422)
  t.eq(r.reason, "grouping label team is missing")
  t.eq(t.push({ group = { team = "red", zone = "" }, body = "up 1\n" }).reason, "grouping label zone is missing")
end)

t.case("a push with them is stored", function()
  local r = t.push { job = "a", group = { team = "red", zone = "x" }, body = "up 1\n" }
  t.text(r, 'up{instance="",job="a",team="red",zone="x"} 1')
end)

t.case("a group can always be deleted", function()
  t.eq(t.push({ method = "DELETE", job = "a" }).status, 202)
end)
