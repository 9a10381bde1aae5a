-- cardinality: bound series per push, per group and per job, and pushes per second per job.
return {
  api = 1,
  name = "cardinality",
  version = "1.0.0",
  on_error = "pass",
  facts = true,
  config = {
    per_push = { type = "integer", default = 10000, min = 1 },
    per_group = { type = "integer", default = 20000, min = 1 },
    per_job = { type = "integer", default = 100000, min = 1 },
    job_limits = { type = "map<string,integer>", default = {}, help = "per_job override by job name" },
    pushes_per_second = { type = "number", default = 0, min = 0, help = "0 switches it off" },
  },
  init = function(cfg)
    local rejected = gate.counter { name = "rejected_total", help = "Pushes rejected.", labels = { "limit" } }
    local bucket
    local rate = cfg.pushes_per_second
    if rate > 0 then
      bucket = gate.bucket { name = "rate", rate = rate, burst = math.max(2 * rate, 1) }
    end

    local function reject(status, limit, text, wait)
      rejected:inc(1, limit)
      return gate.reject(status, text, { retry_after = wait })
    end

    return {
      on_request = function(req)
        if not bucket or req.method == "DELETE" then return end
        local job = req.job
        local ok, wait = bucket:take(#job <= 256 and job or gate.sha256(job))
        if not ok then return reject(429, "rate", "job pushes too often", wait) end
      end,

      on_commit = function(push)
        local n, facts = push.n_series, push:facts()
        if n > cfg.per_push then
          return reject(413, "push", n .. " series in one push, limit " .. cfg.per_push)
        end
        local group = facts.group_series - facts.replaced_series + n
        if group > cfg.per_group and group > facts.group_series then
          return reject(429, "group", "group would hold " .. group .. " series, limit " .. cfg.per_group)
        end
        local limit = cfg.job_limits[push.job] or cfg.per_job
        local job = facts.job_series - facts.replaced_series + n
        if job > limit and job > facts.job_series then
          return reject(429, "job", "job would hold " .. job .. " series, limit " .. limit)
        end
      end,
    }
  end,
}
