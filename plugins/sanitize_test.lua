local t = gate.test

t.case("names of metrics and labels become valid", function()
  local r = t.push {
    job = "a",
    body = 'my-count 1\nfree memory (kB) 5\n9lives{sensor id="3"} 9\nfine{job="other",zone="eu"} 2\n',
  }
  t.text(r, [[
    my_count{instance="",job="a"} 1
    free_memory__kB_{instance="",job="a"} 5
    _9lives{instance="",job="a",sensor_id="3"} 9
    fine{instance="",job="a",zone="eu"} 2
  ]])
end)

t.case("labels that become alike stay apart", function()
  local r = t.push { job = "a", body = 'x{a-b="1",a_b="2",a b="3"} 1\n' }
  t.eq(r.status, 200)
  t.ok(r.text:find('a_b="2"') and r.text:find('a_b_="%d"') and r.text:find('a_b__="%d"'), r.text)
end)

t.case("lines without a value are dropped", function()
  local r = t.push { job = "a", body = "idle null\nbusy 1\n" }
  t.text(r, 'busy{instance="",job="a"} 1')
  t.eq(r.dropped, 1)
  t.text(t.push { method = "PUT", job = "a", body = "idle null\n" }, "")
end)

t.case("or have one given", function()
  t.config { null = "zero" }
  t.eq(t.push({ body = "idle null\n" }):metric("idle"), 0)
end)

t.case("or are no number", function()
  t.config { null = "nan" }
  local value = t.push({ body = "idle null\n" }):metric("idle")
  t.ok(value ~= value)
end)

t.case("or refuse the push", function()
  t.config { null = "reject" }
  local r = t.push { body = "busy 1\nidle null\n" }
  t.eq(r.status, 422)
  t.eq(r.reason, "idle has no value")
end)

t.case("equal names of several steps are summed", function()
  local r = t.push { job = "a", body = "read-count 3\nread-count 4\nread_count 5\nother 1\n" }
  t.text(r, [[
    read_count{instance="",job="a"} 12
    other{instance="",job="a"} 1
  ]])
  t.eq(r.dropped, 2)
end)

t.case("of a gauge the last one counts", function()
  local body = "# TYPE depth gauge\ndepth 3\ndepth 4\n"
  t.eq(t.push({ body = body }):metric("depth"), 4)
end)

t.case("the first or the last can be kept", function()
  t.config { repeated = "first" }
  t.eq(t.push({ body = "n 3\nn 4\nn 5\n" }):metric("n"), 3)
end)

t.case("the last", function()
  t.config { repeated = "last" }
  t.eq(t.push({ body = "n 3\nn 4\nn 5\n" }):metric("n"), 5)
end)

t.case("or the push refused", function()
  t.config { repeated = "reject" }
  t.eq(t.push({ body = "n 3\nn 4\n" }).reason, "n is there twice with the same labels")
  t.eq(t.push({ body = 'n{a="1"} 3\nn{a="2"} 4\n' }).status, 200)
end)

t.case("labels that are glued together alike are not the same", function()
  local r = t.push { body = 'n{a="1",b="2"} 3\nn{a="1 1:b1:2"} 4\n' }
  t.eq(r.dropped, 0)
end)

t.case("names that become one of another type are refused", function()
  local r = t.push { body = "# TYPE a_b gauge\na_b 1\n# TYPE a-b counter\na-b 2\n" }
  t.eq(r.status, 422)
  t.eq(r.reason, "a-b is written like a metric of another type")
end)

t.case("histograms pass", function()
  local r = t.push {
    body = '# TYPE wait histogram\nwait_bucket{le="1"} 1\nwait_bucket{le="+Inf"} 2\nwait_sum 3\nwait_count 2\n',
  }
  t.eq(r:metric("wait_count"), 2)
end)

t.case("what nobody can put right is refused as ever", function()
  t.eq(t.push({ body = "a{ 1\n" }).status, 400)
end)
