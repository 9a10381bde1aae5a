//! The machine that runs a `*_test.lua` file: sandboxed like a plugin's, with `gate.test` besides.
//!
//! What a test pushes goes to plugins on the same thread, which have budgets of their own; the file's
//! budget is put aside meanwhile.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaString, Table, Value};

use super::state::{Place, State};
use super::values::{number_of, plain};
use super::{build, handles};
use crate::model::NameRules;
use crate::plugin::budget::{self, Allowance};
use crate::plugin::door::StoreFacts;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::spec::{Body, Sources, Spec};
use crate::plugin::stage::Stage;
use crate::plugin::testing::diff::{canonical, difference};
use crate::plugin::testing::{EPOCH, Found, Pass, Plan, Reply, Request, Setup, World, configuration};
use crate::plugin::value::Value as Plain;

/// Bytes that a test file may use.
const MEMORY_BYTES: usize = 256 * 1024 * 1024;

/// A test file that has said which cases it has.
pub struct TestFile {
    lua: Lua,
    state: Rc<State>,
    desk: Rc<Desk>,
}

/// What the functions of `gate.test` share.
struct Desk {
    plan: Plan,
    found: Found,
    cases: RefCell<Vec<(String, Function)>>,
    /// What the file says of its plugins, and the running case instead.
    setup: RefCell<Setup>,
    own_setup: RefCell<Option<Setup>>,
    /// The running case's; after it, for the case with a filled cache.
    world: RefCell<Option<Box<dyn World>>>,
    pass: Cell<Option<Pass>>,
    replies: RefCell<Vec<Reply>>,
    /// What an assertion found, whole.
    failure: RefCell<Option<String>>,
    /// Seconds since the case began.
    advanced: Cell<f64>,
    allowance: Cell<Allowance>,
}

impl TestFile {
    /// Runs the file, which declares its cases.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn load(source: &str, found: &Found, plan: &Plan) -> Result<TestFile, String> {
        let name = found.path.file_name().and_then(|name| name.to_str()).unwrap_or("test").to_owned();
        let sources = Sources { main: source.to_owned(), ..Sources::default() };
        let program = sources.compile(&name).map_err(|fault| fault.to_string())?;
        let main = program.main.clone();
        let spec = Spec::new(name.clone(), Body::Lua(program), NameRules::Legacy, Arc::default());
        let stage = Stage::new(NameRules::Legacy, 0, 1);
        stage.dry.set(true);
        let state = Rc::new(State::new(Rc::new(stage), Arc::new(spec), None));
        let desk = Rc::new(Desk {
            plan: plan.clone(),
            found: found.clone(),
            cases: RefCell::default(),
            setup: RefCell::default(),
            own_setup: RefCell::default(),
            world: RefCell::default(),
            pass: Cell::new(None),
            replies: RefCell::default(),
            failure: RefCell::default(),
            advanced: Cell::new(0.0),
            allowance: Cell::new(Allowance::CHECK),
        });
        let make = || -> mlua::Result<(Lua, Function)> {
            let lua = build(&state, MEMORY_BYTES, Some(&|lua| table(lua, &desk)))?;
            handles(&lua, &state)?;
            let main = lua.load(main).set_name(format!("={name}")).set_mode(ChunkMode::Binary);
            let main = main.into_function()?;
            Ok((lua, main))
        };
        let (lua, main) = make().map_err(|error| Fault::from_lua(&error).to_string())?;
        let file = TestFile { lua, state, desk };
        file.call(&main)?;
        Ok(file)
    }

    /// Names of the cases, in order.
    pub fn cases(&self) -> Vec<String> {
        self.desk.cases.borrow().iter().map(|case| case.0.clone()).collect()
    }

    /// Runs case number `at`; its answers.
    ///
    /// # Errors
    ///
    /// An assertion does not hold, or something is wrong with the file or the plugins.
    pub fn run(&self, at: usize, pass: Pass) -> Result<Vec<Reply>, String> {
        let desk = &self.desk;
        let function = desk.cases.borrow()[at].1.clone();
        *desk.own_setup.borrow_mut() = None;
        desk.replies.borrow_mut().clear();
        desk.advanced.set(0.0);
        let mut world = desk.world.borrow_mut();
        match (pass, &mut *world) {
            (Pass::CacheWarm, Some(world)) => world.again(),
            (_, world) => *world = None,
        }
        drop(world);
        desk.pass.set(Some(pass));
        let outcome = self.call(&function);
        desk.pass.set(None);
        let replies = desk.replies.take();
        match outcome {
            Ok(()) => Ok(replies),
            Err(why) => {
                // A status of 500 tells nothing; what the plugins logged does.
                let last = replies.last().map(|reply| &*reply.log).unwrap_or_default();
                Err(last.iter().fold(why, |why, record| format!("{why}\nlogged by the last push: {record}")))
            }
        }
    }

    /// Calls a function of the file under its budget.
    fn call(&self, function: &Function) -> Result<(), String> {
        self.state.place.set(Place::Load);
        *self.desk.failure.borrow_mut() = None;
        self.desk.allowance.set(Allowance::CHECK);
        budget::arm(Allowance::CHECK);
        let called = function.call::<()>(());
        let used = budget::disarm();
        self.state.end_hook();
        // Cases are independent of each other's garbage.
        let _ = self.lua.gc_collect();
        let error = match called {
            _ if used.expired => return Err("the test used up its budget of steps or time".to_owned()),
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let fault = Fault::from_lua(&error);
        match self.desk.failure.take() {
            Some(found) => {
                // Lua put file and line in front of the word that was raised.
                let place = fault.text.strip_suffix("failed").unwrap_or_default();
                Err(format!("{place}{found}"))
            }
            None if fault.code == Code::Runtime => Err(fault.text),
            None => Err(fault.to_string()),
        }
    }
}

/// `gate.test`.
fn table(lua: &Lua, desk: &Rc<Desk>) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let at = desk.clone();
    host.raw_set(
        "case",
        lua.create_function(move |_, (name, function): (String, Function)| {
            if at.pass.get().is_some() {
                return raise(Code::Test, "a case cannot declare cases");
            }
            at.cases.borrow_mut().push((name, function));
            Ok(())
        })?,
    )?;
    let at = desk.clone();
    host.raw_set(
        "config",
        lua.create_function(move |_, config: Value| {
            let config = plain(&config, 0)?;
            at.set_up(|setup| setup.config = Some(config))
        })?,
    )?;
    let at = desk.clone();
    host.raw_set(
        "use",
        lua.create_function(move |_, list: Table| {
            let items = list.sequence_values::<Value>().map(|item| plain(&item?, 0));
            let items = items.collect::<mlua::Result<Vec<Plain>>>()?;
            at.set_up(|setup| setup.chain = Some(items))
        })?,
    )?;
    let at = desk.clone();
    host.raw_set(
        "advance",
        lua.create_function(move |_, seconds: f64| {
            if !seconds.is_finite() || seconds < 0.0 {
                return raise(Code::Test, "time goes forward, in seconds");
            }
            at.advanced.set(at.advanced.get() + seconds);
            // Timers have budgets of their own, as pushes do.
            at.apart(|| {
                if let Some(world) = &mut *at.world.borrow_mut() {
                    world.advance(EPOCH + at.advanced.get());
                }
            });
            Ok(())
        })?,
    )?;
    let at = desk.clone();
    host.raw_set("push", lua.create_function(move |lua, table: Table| at.push(lua, &table))?)?;
    let at = desk.clone();
    host.raw_set(
        "fail",
        lua.create_function(move |_, text: LuaString| {
            *at.failure.borrow_mut() = Some(text.to_string_lossy());
            Ok(())
        })?,
    )?;
    host.raw_set(
        "difference",
        lua.create_function(|_, (expected, got): (String, String)| {
            Ok(difference(&canonical(&expected), &canonical(&got)))
        })?,
    )?;
    lua.load(include_str!("trial.lua")).set_name("=gate.test").call(host)
}

impl Desk {
    fn set_up(&self, change: impl FnOnce(&mut Setup)) -> mlua::Result<()> {
        if self.pass.get().is_none() {
            change(&mut self.setup.borrow_mut());
            return Ok(());
        }
        if !self.replies.borrow().is_empty() {
            return raise(Code::Test, "t.config and t.use come before the first t.push of a case");
        }
        let mut own = self.own_setup.borrow_mut();
        change(own.get_or_insert_with(|| self.setup.borrow().clone()));
        Ok(())
    }

    fn push(&self, lua: &Lua, table: &Table) -> mlua::Result<Table> {
        let Some(pass) = self.pass.get() else { return raise(Code::Test, "t.push belongs in a t.case") };
        let (request, types) = request(table, EPOCH + self.advanced.get())?;
        let reply = match self.apart(|| self.send(pass, &request)) {
            Ok(reply) => reply,
            Err(why) => return raise(Code::Test, why),
        };
        let table = answer(lua, &reply, types);
        self.replies.borrow_mut().push(reply);
        table
    }

    /// Does something that has a budget of its own, while the file's is put aside.
    fn apart<T>(&self, act: impl FnOnce() -> T) -> T {
        let used = budget::disarm();
        let outcome = act();
        let left = self.allowance.get();
        let left = Allowance {
            steps: left.steps.saturating_sub(used.steps),
            time: left.time.saturating_sub(used.time),
        };
        self.allowance.set(left);
        budget::arm(left);
        outcome
    }

    fn send(&self, pass: Pass, request: &Request) -> Result<Reply, String> {
        let mut world = self.world.borrow_mut();
        if world.is_none() {
            let setup = self.own_setup.borrow().clone().unwrap_or_else(|| self.setup.borrow().clone());
            let file = configuration(&self.found, &setup, &self.plan, pass != Pass::CacheOff)?;
            *world = Some((self.plan.open)(&self.found.dir, &file)?);
        }
        let world = world.as_mut().ok_or("no gateway")?;
        Ok(world.send(request))
    }
}

fn text(key: &str, value: &Value) -> mlua::Result<String> {
    match value {
        Value::String(text) => Ok(text.to_str()?.to_owned()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Number(number) => Ok(number.to_string()),
        other => raise(Code::Test, format!("t.push: {key} is a string, not a {}", other.type_name())),
    }
}

/// Pairs of text, sorted.
fn pairs(key: &str, value: &Value) -> mlua::Result<Vec<(String, String)>> {
    let Value::Table(table) = value else {
        return raise(Code::Test, format!("t.push: {key} is a table of strings"));
    };
    let pair = |pair: mlua::Result<(String, Value)>| {
        let (name, value) = pair?;
        let value = text(key, &value)?;
        Ok((name, value))
    };
    let mut pairs = table.pairs::<String, Value>().map(pair).collect::<mlua::Result<Vec<_>>>()?;
    pairs.sort();
    Ok(pairs)
}

/// What `push:facts()` is to say; what is left out is zero, and `group_age` nil.
fn facts(value: &Value) -> mlua::Result<StoreFacts> {
    let Value::Table(table) = value else { return raise(Code::Test, "t.push: facts is a table") };
    let mut facts = StoreFacts::default();
    for pair in table.pairs::<String, Value>() {
        let (key, value) = pair?;
        let Some(number) = number_of(&value).filter(|number| (0.0..1e15).contains(number)) else {
            return raise(Code::Test, format!("t.push: facts.{key} is a number from 0 on"));
        };
        let count = number as u64;
        match key.as_str() {
            "group_series" => facts.group_series = count,
            "group_age" => facts.group_age = Some(number),
            "job_series" => facts.job_series = count,
            "job_groups" => facts.job_groups = count,
            "total_series" => facts.total_series = count,
            "total_groups" => facts.total_groups = count,
            "replaced_series" => facts.replaced_series = count,
            other => return raise(Code::Test, format!("t.push: facts have no {other}")),
        }
    }
    Ok(facts)
}

/// What `t.push` was given, and whether types are wanted.
fn request(table: &Table, now: f64) -> mlua::Result<(Request, bool)> {
    let mut request = Request { time: now, ..Request::default() };
    let (mut job, mut group, mut types, mut path) = ("test".to_owned(), Vec::new(), false, None);
    for pair in table.pairs::<String, Value>() {
        let (key, value) = pair?;
        match key.as_str() {
            "method" => request.method = text(&key, &value)?,
            "job" => job = text(&key, &value)?,
            "group" => group = pairs(&key, &value)?,
            "path" => path = Some(text(&key, &value)?),
            "user" => request.user = Some(text(&key, &value)?),
            "headers" => request.headers = pairs(&key, &value)?,
            "client" => request.client = text(&key, &value)?,
            "cert_name" => request.cert_name = Some(text(&key, &value)?),
            "content_type" => request.content_type = Some(text(&key, &value)?),
            "body" => match &value {
                Value::String(body) => request.body = body.as_bytes().to_vec(),
                _ => return raise(Code::Test, "t.push: body is a string"),
            },
            "tls" => request.tls = value == Value::Boolean(true),
            "facts" => request.facts = Some(facts(&value)?),
            "types" => types = value == Value::Boolean(true),
            "time" => {
                let Some(time) = number_of(&value).filter(|time| (0.0..1e10).contains(time)) else {
                    return raise(Code::Test, "t.push: time is in unix seconds");
                };
                request.time = time;
            }
            other => return raise(Code::Test, format!("t.push takes no {other}")),
        }
    }
    request.path = path.unwrap_or_else(|| path_of(&job, &group));
    Ok((request, types))
}

/// The path that spells a grouping key.
fn path_of(job: &str, group: &[(String, String)]) -> String {
    let mut path = "/metrics/job".to_owned();
    push_value(&mut path, job);
    for (name, value) in group {
        path.push('/');
        path.push_str(name);
        push_value(&mut path, value);
    }
    path
}

/// Values with a slash, and the empty one, can only be written in base 64 (RFC 4648 section 5).
fn push_value(path: &mut String, value: &str) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if !value.is_empty() && value.bytes().all(plain) && value != "." && value != ".." {
        path.push('/');
        path.push_str(value);
        return;
    }
    path.push_str("@base64/");
    if value.is_empty() {
        path.push('=');
    }
    for bytes in value.as_bytes().chunks(3) {
        let number =
            bytes.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        for at in 0..=bytes.len() {
            path.push(char::from(DIGITS[(number >> (18 - 6 * at)) as usize & 63]));
        }
    }
}

/// The reply as a table with the method `metric`.
fn answer(lua: &Lua, reply: &Reply, types: bool) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("status", reply.status)?;
    table.raw_set("stored", reply.stored)?;
    table.raw_set("reason", reply.reason.as_deref())?;
    table.raw_set("plugin", reply.plugin.as_deref())?;
    table.raw_set("code", reply.code.as_deref())?;
    table.raw_set("dropped", reply.dropped)?;
    table.raw_set("ttl", reply.ttl)?;
    table.raw_set("steps", reply.steps as f64)?;
    table.raw_set("cached", reply.cached as f64)?;
    let comments: String = reply.comments.iter().map(|line| format!("{line}\n")).collect();
    table.raw_set("text", if types { comments + &reply.text() } else { reply.text() })?;
    table.raw_set("log", lua.create_sequence_from(reply.log.iter().map(String::as_str))?)?;
    let named = |pairs: &[(String, String)]| {
        lua.create_table_from(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    };
    table.raw_set("headers", named(&reply.headers)?)?;
    table.raw_set("group", named(&reply.group)?)?;
    let lines = reply.lines.clone();
    let metric = lua.create_function(move |_, (_, name, labels): (Table, String, Option<Table>)| {
        let wanted = match labels {
            Some(labels) => pairs("labels", &Value::Table(labels))?,
            None => Vec::new(),
        };
        let mut found = lines
            .iter()
            .filter(|line| line.name == name && wanted.iter().all(|label| line.labels.contains(label)));
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => raise(Code::Test, format!("several lines of {name} have these labels")),
            (line, _) => Ok(line.map(|line| line.value)),
        }
    })?;
    table.raw_set("metric", metric)?;
    Ok(table)
}
