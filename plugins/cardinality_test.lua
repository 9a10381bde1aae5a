local t = gate.test

t.config { per_push = 3, per_group = 4, per_job = 6, job_limits = { big = 100 }, pushes_per_second = 0 }

local function lines(first, last)
  local out = {}
  for n = first, last do out[#out + 1] = "s" .. n .. " 1\n" end
  return table.concat(out)
end

t.case("a push is refused for its own size", function()
  local r = t.push { body = lines(1, 4) }
  t.eq(r.status, 413)
  t.eq(r.reason, "4 series in one push, limit 3")
  t.eq(t.push({ body = lines(1, 3) }).status, 200)
end)

t.case("a group may not grow over its limit", function()
  t.push { body = lines(1, 3) }
  local r = t.push { body = lines(4, 5) }
  t.eq(r.status, 429)
  t.eq(r.reason, "group would hold 5 series, limit 4")
  t.ok(not r.stored)
  t.eq(t.push({ body = lines(3, 4) }).status, 200, "what is replaced does not count")
  t.eq(t.push({ method = "PUT", body = lines(7, 9) }).status, 200, "a whole group neither")
end)

t.case("a job may not grow over its limit, in whatever groups", function()
  t.push { job = "a", group = { i = "1" }, body = lines(1, 3) }
  t.push { job = "a", group = { i = "2" }, body = lines(1, 3) }
  local r = t.push { job = "a", group = { i = "3" }, body = lines(1, 1) }
  t.eq(r.reason, "job would hold 7 series, limit 6")
  t.eq(t.push({ job = "a", group = { i = "1" }, body = lines(1, 3) }).status, 200)
  t.eq(t.push({ job = "b", group = { i = "3" }, body = lines(1, 1) }).status, 200)
end)

t.case("a job can have a limit of its own", function()
  for i = 1, 5 do
    t.eq(t.push({ job = "big", group = { i = tostring(i) }, body = lines(1, 3) }).status, 200)
  end
end)

t.case("a push that takes nothing more is let through where a limit was lowered", function()
  t.config { per_group = 1 }
  t.eq(t.push({ body = lines(1, 1) }).status, 200)
  t.eq(t.push({ body = lines(1, 1) }).status, 200)
end)

t.case("pushes of a job have a rate", function()
  t.config { pushes_per_second = 0.5 }
  t.eq(t.push({ job = "a", body = lines(1, 1) }).status, 200)
  local r = t.push { job = "a", body = lines(1, 1) }
  t.eq(r.status, 429)
  t.eq(r.reason, "job pushes too often")
  t.eq(r.headers["Retry-After"], "2")
  t.eq(t.push({ job = "b", body = lines(1, 1) }).status, 200)
  t.eq(t.push({ method = "DELETE", job = "a" }).status, 202)
  t.advance(1.9)
  t.eq(t.push({ job = "a", body = lines(1, 1) }).status, 429)
  t.advance(0.1)
  t.eq(t.push({ job = "a", body = lines(1, 1) }).status, 200)
end)

t.case("a job of any length has its rate", function()
  t.config { pushes_per_second = 0.5 }
  local long = ("x"):rep(300)
  t.eq(t.push({ job = long, body = lines(1, 1) }).status, 200)
  t.eq(t.push({ job = long, body = lines(1, 1) }).status, 429)
end)
