local t = gate.test

local function value_of(r, label)
  return (r.text:match("[{,]" .. label .. '="([^"]*)"'))
end

t.case("what looks personal or random is masked", function()
  local kinds = {
    { "bob@example.org", "<email>" },
    { "550e8400-e29b-41d4-a716-446655440000", "<uuid>" },
    { "AKIAIOSFODNN7EXAMPLE", "<token>" },
    { "10.0.0.7", "<ip>" },
    { "4111 1111 1111 1111", "<card>" },
    { "q8Zx72LmPo0dK3vTf91y", "<random>" },
    { "/api/v1/users/1234/orders", "/api/v1/users/1234/orders" },
    { "checkout-7d9f8b-x2x4z", "checkout-7d9f8b-x2x4z" },
  }
  for _, kind in ipairs(kinds) do
    local r = t.push { method = "PUT", body = 'x{who="' .. kind[1] .. '"} 1\n' }
    t.eq(value_of(r, "who"), kind[2])
  end
end)

t.case("some labels are kept", function()
  t.eq(value_of(t.push { body = 'x{version="10.0.0.7"} 1\n' }, "version"), "10.0.0.7")
end)

t.case("the same value has the same hash", function()
  t.config { action = "hash", salt = "s" }
  local r = t.push { body = 'x{who="bob@example.org"} 1\ny{who="bob@example.org"} 2\nz{who="al@example.org"} 3\n' }
  local hash = "email:" .. gate.hmac("s", "bob@example.org"):sub(1, 12)
  t.eq(r:metric("x", { who = hash }), 1)
  t.eq(r:metric("y", { who = hash }), 2)
  t.eq(r:metric("z", { who = hash }), nil)
end)

t.case("or the label goes", function()
  t.config { action = "drop" }
  t.text(t.push { job = "a", body = 'x{who="bob@example.org"} 1\n' }, 'x{instance="",job="a"} 1')
end)

t.case("a series that was seen is masked again", function()
  t.push { body = 'x{who="bob@example.org"} 1\n' }
  local r = t.push { body = 'x{who="bob@example.org"} 2\n' }
  t.eq(r:metric("x", { who = "<email>" }), 2)
end)
