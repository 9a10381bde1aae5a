//! `gate.shared`, `gate.bucket`, `gate.distinct`: what all workers share.

use std::rc::Rc;
use std::sync::Arc;

use mlua::{Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, Value};

use super::state::{Place, State};
use super::values::number_of;
use crate::model::names::is_legacy_label_name;
use crate::plugin::budget::charge;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::shared::Value as Held;
use crate::plugin::shared::{Body, Bucket, Declared, Dict, Distinct, Kind, Not, Store, Taken, Tick};
use crate::plugin::stats::bump;

/// Bytes of a key, and of a text that is kept.
const KEY_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4096;

/// Keys of one store, by default and at most; a distinct count takes more memory for each.
const KEYS_DEFAULT: f64 = 100_000.0;
const KEYS_MAX: f64 = 1_000_000.0;
const DISTINCT_KEYS_DEFAULT: f64 = 10_000.0;
const DISTINCT_KEYS_MAX: f64 = 100_000.0;

/// Longest time that can be asked for: ten years, in seconds.
const SECONDS_MAX: f64 = 315_576_000.0;

/// Keys of one page of a scan.
const SCAN_MAX: f64 = 1000.0;

/// Tokens per second, and of a burst.
const TOKENS_MAX: f64 = 1e9;

/// Steps for counting what a key saw anew.
const COUNT_STEPS: usize = 16;

/// Adds the three functions.
///
/// # Errors
///
/// The machine is out of memory.
pub fn add_stores(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let at = state.clone();
    gate.raw_set(
        "shared",
        lua.create_function(move |_, table: Table| {
            let mut options = Options::read(&at, "shared", &table, &["max_keys", "ttl"])?;
            let keys_max = options.keys(KEYS_DEFAULT, KEYS_MAX)?;
            let ttl = options.seconds("ttl", f64::MIN_POSITIVE)?;
            let store = options.declare(Kind::Dict { keys_max, ttl })?;
            Ok(DictHandle { state: at.clone(), store, ttl })
        })?,
    )?;
    let at = state.clone();
    gate.raw_set(
        "bucket",
        lua.create_function(move |_, table: Table| {
            let mut options = Options::read(&at, "bucket", &table, &["max_keys", "rate", "burst"])?;
            let keys_max = options.keys(KEYS_DEFAULT, KEYS_MAX)?;
            let rate = options.tokens("rate")?;
            let burst = options.tokens("burst")?;
            if burst / rate > SECONDS_MAX {
                return raise(Code::Value, "gate.bucket: it would take more than ten years to fill");
            }
            let store = options.declare(Kind::Bucket { keys_max, rate, burst })?;
            Ok(BucketHandle { state: at.clone(), store })
        })?,
    )?;
    let at = state.clone();
    gate.raw_set(
        "distinct",
        lua.create_function(move |_, table: Table| {
            let mut options = Options::read(&at, "distinct", &table, &["max_keys", "window"])?;
            let keys_max = options.keys(DISTINCT_KEYS_DEFAULT, DISTINCT_KEYS_MAX)?;
            let window = options.seconds("window", 1.0)?.unwrap_or(3600.0);
            let store = options.declare(Kind::Distinct { keys_max, window })?;
            Ok(DistinctHandle { state: at.clone(), store })
        })?,
    )
}

/// What a store is declared with.
struct Options<'s> {
    state: &'s State,
    what: &'static str,
    name: String,
    numbers: Vec<(String, f64)>,
}

impl Options<'_> {
    fn read<'s>(
        state: &'s State,
        what: &'static str,
        table: &Table,
        known: &[&str],
    ) -> Result<Options<'s>, mlua::Error> {
        state.only_at_load(&format!("gate.{what}"))?;
        let mut options = Options { state, what, name: String::new(), numbers: Vec::new() };
        for pair in table.pairs::<String, Value>() {
            let (key, value) = pair?;
            match (number_of(&value), &value) {
                (_, Value::String(name)) if key == "name" => options.name = name.to_str()?.to_owned(),
                (Some(number), _) if known.contains(&key.as_str()) => options.numbers.push((key, number)),
                _ => return raise(Code::Value, format!("gate.{what} takes no such {key}")),
            }
        }
        if !is_legacy_label_name(&options.name) {
            return raise(Code::Value, format!("gate.{what} needs a name of letters, digits and _"));
        }
        Ok(options)
    }

    fn take(&mut self, key: &str) -> Option<f64> {
        let at = self.numbers.iter().position(|number| number.0 == key)?;
        Some(self.numbers.swap_remove(at).1)
    }

    fn bad<T>(&self, text: &str) -> Result<T, Fault> {
        Err(Fault::new(Code::Value, format!("gate.{}: {text}", self.what)))
    }

    fn keys(&mut self, default: f64, most: f64) -> Result<usize, Fault> {
        let keys = self.take("max_keys").unwrap_or(default);
        if keys.fract() != 0.0 || !(1.0..=most).contains(&keys) {
            return self.bad(&format!("max_keys is a whole number from 1 to {most}"));
        }
        Ok(keys as usize)
    }

    fn seconds(&mut self, key: &str, least: f64) -> Result<Option<f64>, Fault> {
        let Some(seconds) = self.take(key) else { return Ok(None) };
        if (least..=SECONDS_MAX).contains(&seconds) {
            return Ok(Some(seconds));
        }
        self.bad(&format!("{key} is in seconds, up to ten years"))
    }

    fn tokens(&mut self, key: &str) -> Result<f64, Fault> {
        match self.take(key) {
            Some(tokens) if tokens > 0.0 && tokens <= TOKENS_MAX => Ok(tokens),
            _ => self.bad(&format!("{key} is a number above 0, up to {TOKENS_MAX}")),
        }
    }

    fn declare(self, kind: Kind) -> Result<Arc<Store>, Fault> {
        let declared = Declared { name: self.name, kind };
        match &self.state.trial {
            Some(trial) => trial.stores.declare(declared),
            None => Ok(self.state.spec.shared.stores.known(declared)),
        }
    }
}

/// Counts a call that found no room.
fn count_full(state: &State) {
    bump(&state.spec.shared.counts.state_full, 1);
}

/// Checks place and key, and takes the price of a call.
fn begin(state: &State, store: &Store, what: &str, key: &LuaString) -> Result<mlua::BorrowedBytes, Fault> {
    state.in_hook(what)?;
    let key = key.as_bytes();
    if key.len() > KEY_BYTES_MAX {
        return Err(Fault::new(Code::Value, format!("a key has {KEY_BYTES_MAX} bytes at most")));
    }
    charge(1 + key.len() / 64)?;
    store.bring(&key, state.stage.tick.get());
    Ok(key)
}

pub(super) struct DictHandle {
    state: Rc<State>,
    store: Arc<Store>,
    ttl: Option<f64>,
}

/// What a script wants to keep; nil is none.
fn held(value: &Value) -> Result<Option<Held>, Fault> {
    Ok(Some(match value {
        Value::Nil => return Ok(None),
        Value::Boolean(is) => Held::Bool(*is),
        Value::String(text) => {
            let text = text.as_bytes();
            if text.len() > TEXT_BYTES_MAX {
                return Err(Fault::new(Code::Value, format!("a value has {TEXT_BYTES_MAX} bytes at most")));
            }
            charge(text.len() / 64)?;
            Held::Text((&*text).into())
        }
        other => match number_of(other) {
            Some(number) => Held::Number(number),
            None => {
                let text = format!("a number, string or boolean can be kept, not a {}", other.type_name());
                return Err(Fault::new(Code::Value, text));
            }
        },
    }))
}

fn some_held(value: &Value) -> Result<Held, Fault> {
    held(value)?.ok_or_else(|| Fault::new(Code::Value, "nil cannot be kept; use delete"))
}

fn shown(lua: &Lua, value: Option<Held>) -> mlua::Result<Value> {
    Ok(match value {
        None => Value::Nil,
        Some(Held::Bool(is)) => Value::Boolean(is),
        Some(Held::Number(number)) => Value::Number(number),
        Some(Held::Text(text)) => {
            charge(text.len() / 64)?;
            Value::String(lua.create_string(&*text)?)
        }
    })
}

impl DictHandle {
    fn dict(&self) -> Result<&Dict, Fault> {
        match &self.store.body {
            Body::Dict(dict) => Ok(dict),
            _ => Err(Fault::new(Code::Internal, "a store is of another kind")),
        }
    }

    fn now(&self) -> Tick {
        self.state.stage.tick.get()
    }

    /// The end of a value that is made now.
    fn until(&self, ttl: Option<f64>) -> Result<Option<Tick>, Fault> {
        match ttl.or(self.ttl) {
            None => Ok(None),
            Some(ttl) if ttl > 0.0 && ttl <= SECONDS_MAX => Ok(Some(self.now().after(ttl))),
            Some(_) => Err(Fault::new(Code::Value, "ttl is in seconds, above 0, up to ten years")),
        }
    }

    /// A result as scripts see it: itself, or nil and a word.
    fn or_word<T>(&self, result: Result<T, Not>) -> (Option<T>, Option<&'static str>) {
        match result {
            Ok(value) => (Some(value), None),
            Err(why) => {
                if why == Not::Full {
                    count_full(&self.state);
                }
                (None, Some(why.word()))
            }
        }
    }
}

impl UserData for DictHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("get", |lua, this, key: LuaString| {
            let key = begin(&this.state, &this.store, "reading shared state", &key)?;
            shown(lua, this.dict()?.get(&key, this.now()))
        });
        methods.add_method("set", |_, this, (key, value, ttl): (LuaString, Value, Option<f64>)| {
            let key = begin(&this.state, &this.store, "changing shared state", &key)?;
            let done = this.dict()?.set(&key, &some_held(&value)?, this.until(ttl)?);
            Ok(this.or_word(done.map(|()| true)))
        });
        methods.add_method("add", |_, this, (key, value, ttl): (LuaString, Value, Option<f64>)| {
            let key = begin(&this.state, &this.store, "changing shared state", &key)?;
            let done = this.dict()?.add(&key, &some_held(&value)?, this.until(ttl)?, this.now());
            Ok(this.or_word(done))
        });
        type Incr = (LuaString, Option<f64>, Option<f64>, Option<f64>);
        methods.add_method("incr", |_, this, (key, by, init, ttl): Incr| {
            let key = begin(&this.state, &this.store, "changing shared state", &key)?;
            let (by, until) = (by.unwrap_or(1.0), this.until(ttl)?);
            let init = init.unwrap_or(0.0) + by;
            Ok(this.or_word(this.dict()?.change(&key, |number| number + by, init, until, this.now())))
        });
        type Extreme = fn(f64, f64) -> f64;
        for (name, pick) in [("max", f64::max as Extreme), ("min", f64::min as Extreme)] {
            methods.add_method(name, move |_, this, (key, number): (LuaString, f64)| {
                let key = begin(&this.state, &this.store, "changing shared state", &key)?;
                let until = this.until(None)?;
                Ok(this.or_word(this.dict()?.change(
                    &key,
                    |old| pick(old, number),
                    number,
                    until,
                    this.now(),
                )))
            });
        }
        methods.add_method("cas", |_, this, (key, old, new): (LuaString, Value, Value)| {
            let key = begin(&this.state, &this.store, "changing shared state", &key)?;
            let (old, new) = (held(&old)?, held(&new)?);
            let until = this.until(None)?;
            Ok(this.or_word(this.dict()?.swap(&key, old.as_ref(), new.as_ref(), until, this.now())))
        });
        methods.add_method("delete", |_, this, key: LuaString| {
            this.dict()?.delete(&begin(&this.state, &this.store, "changing shared state", &key)?);
            Ok(())
        });
        methods.add_method("ttl", |_, this, key: LuaString| {
            let key = begin(&this.state, &this.store, "reading shared state", &key)?;
            let until = this.dict()?.end_of(&key, this.now()).flatten();
            Ok(until.map(|until| this.now().seconds_to(until)))
        });
        methods.add_method("expire", |_, this, (key, ttl): (LuaString, f64)| {
            let key = begin(&this.state, &this.store, "changing shared state", &key)?;
            Ok(this.dict()?.expire(&key, this.until(Some(ttl))?, this.now()))
        });
        methods.add_method("len", |_, this, ()| {
            this.state.in_hook("reading shared state")?;
            Ok(this.dict()?.keys() as f64)
        });
        methods.add_method("scan", |lua, this, (cursor, most): (Option<f64>, Option<f64>)| {
            if !matches!(this.state.place.get(), Place::Timer | Place::Shutdown) {
                return raise(Code::Phase, "scan is for timers and shutdown");
            }
            let (cursor, most) = (cursor.unwrap_or(0.0), most.unwrap_or(SCAN_MAX));
            if !(0.0..=9_007_199_254_740_992.0).contains(&cursor) || !(1.0..=SCAN_MAX).contains(&most) {
                return raise(Code::Value, format!("scan takes a cursor and a number from 1 to {SCAN_MAX}"));
            }
            charge(1 + this.dict()?.keys() / 16)?;
            this.store.bring_all(this.now());
            let (keys, next) = this.dict()?.scan(cursor as u64, most as usize, this.now());
            let keys = keys.iter().map(|key| lua.create_string(key)).collect::<mlua::Result<Vec<_>>>()?;
            Ok((lua.create_sequence_from(keys)?, next.map(|next| next as f64)))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.shared"));
    }
}

pub(super) struct BucketHandle {
    state: Rc<State>,
    store: Arc<Store>,
}

impl BucketHandle {
    fn bucket(&self) -> Result<&Bucket, Fault> {
        match &self.store.body {
            Body::Bucket(bucket) => Ok(bucket),
            _ => Err(Fault::new(Code::Internal, "a store is of another kind")),
        }
    }
}

impl UserData for BucketHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("take", |_, this, (key, tokens): (LuaString, Option<f64>)| {
            let key = begin(&this.state, &this.store, "taking from a bucket", &key)?;
            let tokens = tokens.unwrap_or(1.0);
            if !(0.0..=TOKENS_MAX).contains(&tokens) {
                return raise(Code::Value, "tokens are a number, not below 0");
            }
            Ok(match this.bucket()?.take(&key, tokens, this.state.stage.tick.get()) {
                Taken::Yes => (true, 0.0),
                Taken::Unknown => {
                    count_full(&this.state);
                    (true, 0.0)
                }
                Taken::No(seconds) => (false, seconds),
            })
        });
        methods.add_method("peek", |_, this, key: LuaString| {
            let key = begin(&this.state, &this.store, "looking into a bucket", &key)?;
            Ok(this.bucket()?.peek(&key, this.state.stage.tick.get()))
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.bucket"));
    }
}

pub(super) struct DistinctHandle {
    state: Rc<State>,
    store: Arc<Store>,
}

impl DistinctHandle {
    fn distinct(&self) -> Result<&Distinct, Fault> {
        match &self.store.body {
            Body::Distinct(distinct) => Ok(distinct),
            _ => Err(Fault::new(Code::Internal, "a store is of another kind")),
        }
    }
}

impl UserData for DistinctHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("add", |_, this, (key, item): (LuaString, LuaString)| {
            let key = begin(&this.state, &this.store, "counting items", &key)?;
            let item = item.as_bytes();
            charge(COUNT_STEPS + item.len() / 64)?;
            let count = this.distinct()?.add(&key, &item, this.state.stage.tick.get());
            if count.is_none() {
                count_full(&this.state);
            }
            Ok((count.map(f64::round), count.is_none().then_some("full")))
        });
        methods.add_method("count", |_, this, key: LuaString| {
            let key = begin(&this.state, &this.store, "counting items", &key)?;
            charge(COUNT_STEPS)?;
            Ok(this.distinct()?.count(&key, this.state.stage.tick.get()).round())
        });
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("gate.distinct"));
    }
}
