local t = gate.test

t.case("units become base units", function()
  local r = t.push {
    job = "a",
    types = true,
    body = "# TYPE sent_kb_total counter\nsent_kb_total 2\nbusy_percent 50\nup 1\n",
  }
  t.text(r, [[
    # TYPE sent_bytes_total counter
    # TYPE busy_ratio untyped
    # TYPE up untyped
    sent_bytes_total{instance="",job="a"} 2048
    busy_ratio{instance="",job="a"} 0.5
    up{instance="",job="a"} 1
  ]])
end)

t.case("the bounds of histograms are scaled too", function()
  local r = t.push {
    body = '# TYPE wait_ms histogram\nwait_ms_bucket{le="500"} 1\nwait_ms_bucket{le="+Inf"} 2\n'
      .. "wait_ms_sum 1500\nwait_ms_count 2\n",
  }
  t.eq(r:metric("wait_seconds_bucket", { le = "0.5" }), 1)
  t.eq(r:metric("wait_seconds_sum"), 1.5)
  t.eq(r:metric("wait_seconds_count"), 2)
end)

t.case("old names can be kept beside new ones", function()
  t.config { rename = { old = "new" }, keep_old = true }
  local r = t.push { body = "t_ms 1500\nold 1\n" }
  t.eq(r:metric("t_ms"), 1500)
  t.eq(r:metric("t_seconds"), 1.5)
  t.eq(r:metric("old"), 1)
  t.eq(r:metric("new"), 1)
end)

t.case("units can be left alone", function()
  t.config { skip = { "percent" } }
  t.eq(t.push({ body = "busy_percent 50\n" }):metric("busy_percent"), 50)
end)
