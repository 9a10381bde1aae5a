local t = gate.test

t.case("rules are required", function()
  t.fails(function() t.push { body = "up 1\n" } end, "E_CONFIG: rules is required")
end)

t.case("rules run as they would at the scrape", function()
  t.config {
    rules = {
      { source_labels = { "env" }, regex = "dev", action = "drop" },
      { source_labels = { "path" }, regex = "/users/\\d+(.*)", target_label = "path", replacement = "/users/N$1" },
      { regex = "tmp_.*", action = "labeldrop" },
    },
  }
  local r = t.push { job = "a", body = 'hits{env="dev"} 1\nhits{env="prod",path="/users/17/x",tmp_a="b"} 2\n' }
  t.text(r, 'hits{env="prod",instance="",job="a",path="/users/N/x"} 2')
  t.eq(r.dropped, 1)
  t.eq(r.steps, 0, "no Lua runs")
end)

t.case("only chooses the series", function()
  t.config { only = '{env!=""}', rules = { { target_label = "seen", replacement = "yes" } } }
  local r = t.push { job = "a", body = 'x{env="dev"} 1\nx 2\n' }
  t.text(r, [[
    x{env="dev",instance="",job="a",seen="yes"} 1
    x{instance="",job="a"} 2
  ]])
end)

t.case("a rule that is wrong is found at load", function()
  t.config { rules = { { action = "hashmod", target_label = "x" } } }
  t.fails(function() t.push { body = "up 1\n" } end, "modulus")
end)
