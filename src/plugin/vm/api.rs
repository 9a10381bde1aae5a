//! Every name that plugins and their tests can use, with types and a line about it: what editors are told
//! (`floodway plugin stubs`), and what tests hold the functions as registered and `plugins/README.md` to.
//!
//! Types are those of LuaCATS annotations. A test fails if a name is registered and not here, or here and not
//! registered; `scripts/check-stubs` holds the types to all plugins of this repository. Nothing is registered
//! *from* here: each function is a closure of a type of its own over the handle of its class, several classes are
//! one handle, and some are tables that have none. Functions in the entries would make of one table that can be
//! read from end to end a dozen of different types, and a second list for what they have in common.

/// A table or handle that scripts see.
pub struct Class {
    pub name: &'static str,
    /// The class whose members it has besides, or the type that it is.
    pub parent: Option<&'static str>,
    pub about: &'static str,
    pub members: &'static [Member],
}

pub struct Member {
    pub name: &'static str,
    pub kind: Kind,
    pub about: &'static str,
}

pub enum Kind {
    /// With its type.
    Field(&'static str),
    /// Parameters as `name: type, ...`, and what it returns.
    Method(&'static str, &'static str),
    /// The same without a receiver.
    Function(&'static str, &'static str),
}

const fn field(name: &'static str, kind: &'static str, about: &'static str) -> Member {
    Member { name, kind: Kind::Field(kind), about }
}

const fn method(
    name: &'static str,
    takes: &'static str,
    returns: &'static str,
    about: &'static str,
) -> Member {
    Member { name, kind: Kind::Method(takes, returns), about }
}

const fn function(
    name: &'static str,
    takes: &'static str,
    returns: &'static str,
    about: &'static str,
) -> Member {
    Member { name, kind: Kind::Function(takes, returns), about }
}

const fn class(name: &'static str, about: &'static str, members: &'static [Member]) -> Class {
    Class { name, parent: None, about, members }
}

const fn below(
    name: &'static str,
    parent: &'static str,
    about: &'static str,
    members: &'static [Member],
) -> Class {
    Class { name, parent: Some(parent), about, members }
}

/// Types that have no members, and short names for types.
pub const ALIASES: &[(&str, &str)] = &[
    ("gate.Type", "\"counter\"|\"gauge\"|\"histogram\"|\"summary\"|\"gaugehistogram\"|\"untyped\""),
    ("gate.Sel", "string|gate.Selector"),
    ("gate.Refusal", "gate.Reject|gate.Discard"),
    ("gate.Rules", "gate.Ruleset|table[]"),
    ("gate.RequestHook", "gate.Hook|fun(req: gate.Request): (gate.Refusal|gate.Keep|true|nil)"),
    ("gate.PushHook", "gate.Hook|fun(push: gate.Push): (gate.Refusal|gate.Keep|true|nil)"),
    (
        "gate.FamilyHook",
        "gate.Hook|fun(f: gate.Family, push: gate.Push): (gate.Reject|gate.Drop|gate.Keep|boolean|nil)",
    ),
    ("gate.SeriesHook", "gate.Hook|fun(s: gate.Series): (gate.Reject|gate.Drop|gate.Keep|boolean|nil)"),
    (
        "gate.SampleHook",
        "gate.Hook|fun(s: gate.Sample, push: gate.Push): (gate.Reject|gate.Drop|gate.Keep|boolean|nil)",
    ),
    ("gate.CommitHook", "gate.Hook|fun(push: gate.Push): (gate.Reject|gate.Keep|true|nil)"),
];

/// Types of values that can only be passed on.
pub const OPAQUE: &[&str] = &[
    "gate.Keep",
    "gate.Drop",
    "gate.Reject",
    "gate.Discard",
    "gate.Extend",
    "gate.Hook",
    "gate.Selector",
    "gate.Ruleset",
];

pub const CLASSES: &[Class] = &[
    GATE, LOG, REQUEST, PUSH, LABELS, FAMILY, SERIES, SAMPLE, GROUP, RESULT, REGEX, COUNTER, GAUGE,
    HISTOGRAM, SHARED, BUCKET, DISTINCT, LOOKUP, CIDR, TEST, REPLY, PLUGIN,
];

pub const GATE: Class = class(
    "gate",
    "What the host offers.",
    &[
        field("api", "integer", "The version of this API."),
        field("version", "string", "Floodway's version."),
        field("name", "string", "The plugin's name in plugins.yml."),
        field("worker", "integer", "The worker's number, from 0."),
        field("workers", "integer", "How many workers there are."),
        field("KEEP", "gate.Keep", "Keeps what a hook was called for; so does returning nothing."),
        field("DROP", "gate.Drop", "Removes this family, series or sample."),
        field("log", "gate.Log", "Structured log records."),
        function(
            "reject",
            "status: integer, reason: string?, opts: { retry_after: number?, www_authenticate: string?, code: string?, mark_failed: boolean? }?",
            "gate.Reject",
            "Refuses the push: 400 to 499 or 503.",
        ),
        function("discard", "reason: string?", "gate.Discard", "Stores nothing and answers success."),
        function("extend", "seconds: number", "gate.Extend", "In on_expire: a new lifetime from now."),
        function("when", "selector: gate.Sel, fn: function", "gate.Hook", "Calls fn only on matches."),
        function(
            "relabel",
            "rules: table[], opts: { only: gate.Sel? }?",
            "gate.Ruleset",
            "Compiles relabel rules.",
        ),
        function("selector", "text: string", "gate.Selector", "Compiles a selector."),
        function("re", "pattern: string", "gate.Regex", "Compiles a pattern of RE2, not anchored."),
        function("hash", "s: string", "integer", "A whole number below 2^53, the same everywhere."),
        function("sha256", "s: string", "string", "In hex."),
        function("hmac", "key: string, s: string", "string", "HMAC with SHA-256, in hex."),
        function("md5mod", "s: string, modulus: integer", "integer", "As the rule hashmod."),
        function("entropy", "s: string", "number", "Bits per byte."),
        function("luhn", "s: string", "boolean", "14 to 19 digits with a right check digit."),
        function("ip", "s: string", "string?", "An address in its normal form; nil if it is none."),
        function("valid_metric", "s: string", "boolean", "Whether it can name a metric."),
        function("valid_label", "s: string", "boolean", "Whether it can name a label."),
        function(
            "sanitize",
            "s: string, kind: \"metric\"|\"label\"|nil",
            "string",
            "Illegal bytes become underscores.",
        ),
        function(
            "split",
            "s: string, separator: string, max: integer?",
            "string[]",
            "Pieces between separators.",
        ),
        function("trim", "s: string", "string", "Without blanks around."),
        function("fmt", "n: number", "string", "The shortest text of a number."),
        function("now", "", "number", "Arrival of the request, unix seconds."),
        function(
            "counter",
            "declared: { name: string, help: string?, labels: string[]? }",
            "gate.Counter",
            "Declares a counter.",
        ),
        function(
            "gauge",
            "declared: { name: string, help: string?, labels: string[]? }",
            "gate.Gauge",
            "Declares a gauge.",
        ),
        function(
            "histogram",
            "declared: { name: string, help: string?, labels: string[]?, buckets: number[] }",
            "gate.Histogram",
            "Declares a histogram.",
        ),
        function(
            "shared",
            "declared: { name: string, max_keys: integer?, ttl: number? }",
            "gate.Shared",
            "Declares a dictionary of all workers.",
        ),
        function(
            "bucket",
            "declared: { name: string, rate: number, burst: number, max_keys: integer? }",
            "gate.Bucket",
            "Declares token buckets.",
        ),
        function(
            "distinct",
            "declared: { name: string, window: number?, max_keys: integer? }",
            "gate.Distinct",
            "Declares counts of different items.",
        ),
        function(
            "lookup",
            "path: string, opts: { key: string?, value: string? }?",
            "gate.Lookup",
            "A table from a file in the plugin's folder.",
        ),
        function("cidr", "networks: string|string[]", "gate.Cidr", "A set of networks."),
        function(
            "every",
            "seconds: number, fn: fun(), opts: { each: boolean? }?",
            "",
            "Runs fn again and again.",
        ),
        field("test", "gate.Test", "In test files only."),
    ],
);

const LOG: Class = class(
    "gate.Log",
    "Log records: 2 KiB each, 20 per second.",
    &[
        function("debug", "message: any, fields: table?", "", "Writes a record."),
        function("info", "message: any, fields: table?", "", "Writes a record."),
        function("warn", "message: any, fields: table?", "", "Writes a record."),
        function("error", "message: any, fields: table?", "", "Writes a record."),
    ],
);

pub const REQUEST: Class = class(
    "gate.Request",
    "A push or a delete before its body is read.",
    &[
        field("method", "\"PUT\"|\"POST\"|\"DELETE\"", "As sent."),
        field("job", "string", "The job as it is now."),
        field("group", "gate.GroupLabels", "Grouping labels; writable in on_request."),
        field("group_received", "gate.GroupLabels", "Grouping labels as sent."),
        field("path", "string", "As sent, without query."),
        field("client", "string", "Address of the peer."),
        field("user", "string?", "Login that the server verified."),
        field("tls", "boolean", "Whether the connection is encrypted."),
        field("cert_name", "string?", "Name in the verified client certificate."),
        field("content_type", "string?", "As received."),
        field("content_length", "number?", "As received."),
        field("time", "number", "Arrival, unix seconds."),
        field("id", "string", "16 hex digits, as in log and answer."),
        field("dry", "boolean", "Whether nothing will be stored."),
        field("ttl", "number?", "Lifetime in seconds; writable until on_commit."),
        field("ctx", "table", "Belongs to this plugin and push."),
        method("header", "name: string", "string?", "A declared header."),
    ],
);

pub const PUSH: Class = below(
    "gate.Push",
    "gate.Request",
    "A push whose body was read.",
    &[
        field("format", "\"text\"|\"protobuf\"|\"openmetrics\"", "How the body was read."),
        field("bytes", "integer", "Size of the decoded body."),
        field("n_families", "integer", "Families now."),
        field("n_samples", "integer", "Samples now."),
        field("n_series", "integer", "Exposed lines now."),
        method("families", "", "fun(): gate.Family?", "Iterates."),
        method("samples", "selector: gate.Sel?", "fun(): gate.Sample?", "Iterates."),
        method("count", "selector: gate.Sel?", "integer", "Number of samples."),
        method(
            "set_label",
            "name: string, value: string|number|nil, selector: gate.Sel?",
            "integer",
            "Number changed.",
        ),
        method("del_label", "name: string, selector: gate.Sel?", "integer", "Number changed."),
        method("rename_label", "from: string, to: string, selector: gate.Sel?", "integer", "Number changed."),
        method("drop", "selector: gate.Sel", "integer", "Number dropped."),
        method("relabel", "rules: gate.Rules", "integer", "Runs rules now; number dropped."),
        method(
            "add",
            "sample: { name: string, type: gate.Type?, help: string?, labels: table<string, string|number>?, value: number }",
            "",
            "Adds a sample.",
        ),
        method(
            "facts",
            "",
            "{ group_series: integer, group_age: number?, job_series: integer, job_groups: integer, total_series: integer, total_groups: integer, replaced_series: integer }",
            "What is stored; needs facts = true.",
        ),
    ],
);

pub const LABELS: Class = below(
    "gate.GroupLabels",
    "{ [string]: string? }",
    "Grouping labels: values by name.",
    &[method("each", "", "fun(): string, string", "Iterates over names and values, sorted.")],
);

pub const FAMILY: Class = class(
    "gate.Family",
    "A metric name with type, help and samples.",
    &[
        field("name", "string", "Writable; merges into a family of that name."),
        field("type", "gate.Type", "Writable among counter, gauge, untyped."),
        field("help", "string?", "Writable."),
        field("unit", "string?", "Writable."),
        field("n_samples", "integer", "Samples now."),
        method("samples", "selector: gate.Sel?", "fun(): gate.Sample?", "Iterates."),
        method("match", "selector: gate.Sel", "boolean", "Whether any sample matches."),
        method("lint", "", "{ code: string, text: string }[]", "What is wrong with its names."),
        method("scale", "k: number", "", "Multiplies every sample."),
        method("copy", "name: string", "gate.Family", "A copy under a new name."),
        method("drop", "", "", "As returning gate.DROP."),
    ],
);

pub const SERIES: Class = class(
    "gate.Series",
    "One member of a family, without its value.",
    &[
        field("name", "string", "Writable: moves it to that family."),
        field("type", "gate.Type", "Of its family."),
        field("help", "string?", "Of its family."),
        field("labels", "table<string, string?>", "Labels by name; writable."),
        field("n_labels", "integer", "Labels now."),
        field("native", "boolean", "Whether it is a native histogram."),
        method("get", "name: string", "string?", "A label's value."),
        method("is", "name: string, value: string", "boolean", "Whether the label has this value."),
        method("has", "name: string", "boolean", "Whether there is such a label."),
        method("set", "name: string, value: string|number|nil", "", "Sets a label; nil deletes it."),
        method("rename", "from: string, to: string", "boolean", "True if there was one."),
        method(
            "sub",
            "name: string, pattern: gate.Regex, template: string",
            "boolean",
            "Replaces all matches in a label.",
        ),
        method("match", "selector: gate.Sel", "boolean", "Whether it matches."),
        method("each", "", "fun(): string, string", "Iterates over names and values, sorted."),
        method("keep", "names: string[]", "boolean", "Deletes the labels not named."),
        method("drop", "", "", "As returning gate.DROP."),
    ],
);

pub const SAMPLE: Class = below(
    "gate.Sample",
    "gate.Series",
    "One member of a family with its value.",
    &[
        field("value", "number?", "Of counter, gauge, untyped; writable."),
        field("count", "number?", "Of histogram and summary."),
        field("sum", "number?", "Of histogram and summary."),
        field("null", "boolean", "Whether the word null stood for the value."),
        field(
            "timestamp",
            "number?",
            "In milliseconds; a push with timestamps is refused after the plugins.",
        ),
        method("buckets", "", "{ le: number, count: number }[]?", "Of a histogram."),
        method("quantiles", "", "{ q: number, value: number }[]?", "Of a summary."),
        method("scale", "k: number", "", "Multiplies value, sum and bounds."),
    ],
);

pub const GROUP: Class = class(
    "gate.Group",
    "A group whose lifetime has ended.",
    &[
        field("job", "string", "Its job."),
        field("labels", "gate.GroupLabels", "Its grouping labels."),
        field("n_series", "integer", "Exposed lines."),
        field("last_push", "number", "Unix seconds."),
        field("age", "number?", "Seconds since the last push."),
        field("ttl", "number", "The lifetime that ended, in seconds."),
    ],
);

const RESULT: Class = class(
    "gate.Result",
    "What became of a push.",
    &[
        field("status", "integer", "Of the answer."),
        field("stored", "boolean", "Whether it was stored."),
        field("plugin", "string?", "Who refused it."),
        field("code", "string?", "Why, in a word."),
        field("reason", "string?", "Why."),
        field("n_series", "number", "Exposed lines."),
        field("dropped", "number", "Samples that plugins dropped."),
        field("time", "number", "Seconds spent in plugins."),
    ],
);

pub const REGEX: Class = class(
    "gate.Regex",
    "A compiled pattern.",
    &[
        method("test", "s: string", "boolean", "Whether it matches."),
        method("find", "s: string, init: integer?", "integer?, integer?", "Where it matches."),
        method("match", "s: string", "string?, string?, string?, string?", "Captures, or the whole match."),
        method("gsub", "s: string, template: string, n: integer?", "string, integer", "Replaces matches."),
    ],
);

pub const COUNTER: Class = class(
    "gate.Counter",
    "Only goes up.",
    &[
        method("inc", "n: number?, ...: string|number|boolean", "", "With a value for each label."),
        method("with", "...: string|number|boolean", "gate.Counter", "With its labels bound."),
    ],
);

pub const GAUGE: Class = class(
    "gate.Gauge",
    "Goes up and down.",
    &[
        method("set", "v: number, ...: string|number|boolean", "", "With a value for each label."),
        method("add", "v: number, ...: string|number|boolean", "", "With a value for each label."),
        method("with", "...: string|number|boolean", "gate.Gauge", "With its labels bound."),
    ],
);

pub const HISTOGRAM: Class = class(
    "gate.Histogram",
    "Counts by size.",
    &[
        method("observe", "v: number, ...: string|number|boolean", "", "With a value for each label."),
        method("with", "...: string|number|boolean", "gate.Histogram", "With its labels bound."),
    ],
);

pub const SHARED: Class = class(
    "gate.Shared",
    "A dictionary of all workers.",
    &[
        method("get", "key: string", "number|string|boolean|nil", "The value."),
        method(
            "set",
            "key: string, value: number|string|boolean, ttl: number?",
            "true?, string?",
            "True; nil and why not.",
        ),
        method(
            "add",
            "key: string, value: number|string|boolean, ttl: number?",
            "boolean?, string?",
            "True if there was none.",
        ),
        method(
            "incr",
            "key: string, n: number?, init: number?, ttl: number?",
            "number?, string?",
            "The new number.",
        ),
        method("max", "key: string, n: number", "number?, string?", "The number then."),
        method("min", "key: string, n: number", "number?, string?", "The number then."),
        method(
            "cas",
            "key: string, old: number|string|boolean|nil, new: number|string|boolean|nil",
            "boolean?, string?",
            "Puts new where old is.",
        ),
        method("delete", "key: string", "", "Removes a key."),
        method("ttl", "key: string", "number?", "Seconds left."),
        method("expire", "key: string, ttl: number", "boolean", "Sets the seconds left."),
        method("len", "", "number", "Keys, about."),
        method(
            "scan",
            "cursor: integer?, n: integer?",
            "string[], integer?",
            "Keys, and the cursor to go on with.",
        ),
    ],
);

pub const BUCKET: Class = class(
    "gate.Bucket",
    "Token buckets by key.",
    &[
        method(
            "take",
            "key: string, n: number?",
            "boolean, number",
            "Whether there were tokens, and the seconds to wait.",
        ),
        method("peek", "key: string", "number", "Tokens that are there."),
    ],
);

pub const DISTINCT: Class = class(
    "gate.Distinct",
    "Counts of different items by key.",
    &[
        method("add", "key: string, item: string", "number?, string?", "The count."),
        method("count", "key: string", "number", "The count."),
    ],
);

pub const LOOKUP: Class = class(
    "gate.Lookup",
    "A table from a file.",
    &[
        method("get", "key: string", "string?", "The value."),
        method("has", "key: string", "boolean", "Whether the key is there."),
        method("len", "", "number", "Keys."),
    ],
);

pub const CIDR: Class = class(
    "gate.Cidr",
    "A set of networks.",
    &[method("has", "ip: string", "boolean", "Whether the address is in one of them.")],
);

pub const TEST: Class = class(
    "gate.Test",
    "What test files say.",
    &[
        function("case", "name: string, fn: fun()", "", "Declares a case."),
        function("config", "config: table", "", "The plugin's configuration."),
        function("use", "plugins: (string|table)[]", "", "Other plugins in its place."),
        function("push", "request: table", "gate.Reply", "Pushes or deletes."),
        function("advance", "seconds: number", "", "Moves the clock."),
        function("eq", "got: any, expected: any, message: string?", "", "Must be equal."),
        function("ok", "value: any, message: string?", "", "Must be true."),
        function("fails", "fn: function, pattern: string?", "", "Must raise an error."),
        function("text", "reply: gate.Reply, expected: string", "", "The group as stored."),
    ],
);

const REPLY: Class = class(
    "gate.Reply",
    "The answer to a push of a test.",
    &[
        field("status", "integer", "Of the answer."),
        field("stored", "boolean", "Whether it was stored."),
        field("reason", "string?", "Why it was refused."),
        field("plugin", "string?", "Who refused it."),
        field("code", "string?", "Why, in a word."),
        field("headers", "table<string, string>", "Of the answer."),
        field("group", "table<string, string>", "Grouping labels as stored."),
        field("text", "string", "The group as stored."),
        field("dropped", "integer", "Samples that plugins dropped."),
        field("ttl", "number?", "Lifetime that a plugin gave."),
        field("log", "string[]", "Records that plugins wrote."),
        field("steps", "integer", "Steps of all plugins."),
        field("cached", "integer", "Remembered results of on_series."),
        method("metric", "name: string, labels: table<string, string>?", "number?", "The value of one line."),
    ],
);

pub const PLUGIN: Class = class(
    "gate.Plugin",
    "What a plugin's file returns.",
    &[
        field("api", "1?", "Required in the file."),
        field("name", "string?", "Informative."),
        field("version", "string?", "Shown by list and status."),
        field("description", "string?", "Shown by list."),
        field("on_error", "\"reject\"|\"pass\"|nil", "What becomes of a push when it fails."),
        field("match", "gate.Sel?", "On the grouping labels as received."),
        field("headers", "string[]?", "Request headers that it reads."),
        field("facts", "boolean?", "Whether it calls push:facts()."),
        field("lenient_names", "boolean?", "Whether it sees what the parser would refuse for its names."),
        field("config", "table<string, table>?", "What it can be given."),
        field("init", "(fun(cfg: table): gate.Plugin?)?", "Its result is merged over this table."),
        field("relabel", "gate.Rules?", "Rules that run before its hooks."),
        field("on_request", "gate.RequestHook|gate.RequestHook[]|nil", "Before the body is read."),
        field("on_push", "gate.PushHook|gate.PushHook[]|nil", "Once per push."),
        field("on_family", "gate.FamilyHook|gate.FamilyHook[]|nil", "Once per family."),
        field("on_series", "gate.SeriesHook|gate.SeriesHook[]|nil", "Once per distinct series; pure."),
        field("on_sample", "gate.SampleHook|gate.SampleHook[]|nil", "Once per sample."),
        field("on_commit", "gate.CommitHook|gate.CommitHook[]|nil", "The last word."),
        field("on_result", "gate.Hook|fun(res: gate.Result, push: gate.Request)|nil", "After the answer."),
        field("on_expire", "gate.Hook|fun(group: gate.Group): gate.Extend?|nil", "When a lifetime ends."),
        field("shutdown", "fun(reason: \"reload\"|\"exit\"|\"rebuild\")|nil", "Before its machine goes."),
    ],
);

#[cfg(test)]
mod tests;
