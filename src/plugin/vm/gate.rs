//! The table `gate`.

use std::net::IpAddr;
use std::rc::Rc;

use mlua::{Function, Lua, LuaString, Table, Value};

use super::expire::add_extend;
use super::log::{self, Level};
use super::metrics::MetricHandle;
use super::shared::add_stores;
use super::state::State;
use super::tables::add_tables;
use super::timer::add_every;
use super::values::{RegexHandle, RulesHandle, SelectorHandle, Verdict, When, number_text, rules_of};
use crate::model::names::{is_legacy_label_name, is_legacy_metric_name};
use crate::plugin::budget::charge;
use crate::plugin::digest;
use crate::plugin::fault::{Code, raise};
use crate::plugin::stats::MetricKind;

/// The version of the API.
pub const API: u32 = 1;

/// Makes `gate`, read-only; with a member `test` where there is one.
///
/// # Errors
///
/// The machine is out of memory.
pub fn table(lua: &Lua, state: &Rc<State>, test: Option<Table>) -> mlua::Result<Table> {
    let gate = lua.create_table()?;
    gate.raw_set("api", API)?;
    gate.raw_set("version", env!("CARGO_PKG_VERSION"))?;
    gate.raw_set("name", state.spec.name.as_str())?;
    gate.raw_set("worker", state.stage.worker)?;
    gate.raw_set("workers", state.stage.workers)?;
    gate.raw_set("KEEP", lua.create_userdata(Verdict::Keep)?)?;
    gate.raw_set("DROP", lua.create_userdata(Verdict::Drop)?)?;
    verdicts(lua, state, &gate)?;
    add_extend(lua, state, &gate)?;
    constructors(lua, state, &gate)?;
    add_tables(lua, state, &gate)?;
    add_every(lua, state, &gate)?;
    add_stores(lua, state, &gate)?;
    helpers(lua, &gate)?;
    gate.raw_set("now", {
        let state = state.clone();
        lua.create_function(move |_, ()| {
            state.not_in_series("gate.now")?;
            Ok(state.stage.now.get().seconds())
        })?
    })?;
    for (name, kind) in
        [("counter", MetricKind::Counter), ("gauge", MetricKind::Gauge), ("histogram", MetricKind::Histogram)]
    {
        let state = state.clone();
        let declare = lua.create_function(move |_, table: Table| {
            state.only_at_load(&format!("gate.{name}"))?;
            MetricHandle::declare(&state, kind, &table)
        })?;
        gate.raw_set(name, declare)?;
    }
    let logs = lua.create_table()?;
    for (name, level) in
        [("debug", Level::Debug), ("info", Level::Info), ("warn", Level::Warn), ("error", Level::Error)]
    {
        let state = state.clone();
        let write = lua.create_function(move |_, (message, fields): (Value, Value)| {
            state.not_in_series("logging")?;
            charge(8)?;
            log::record(&state, level, &message.to_string()?, &fields);
            Ok(())
        })?;
        logs.raw_set(name, write)?;
    }
    if let Some(test) = test {
        test.set_readonly(true);
        gate.raw_set("test", test)?;
    }
    logs.set_readonly(true);
    gate.raw_set("log", logs)?;
    undefined_fields(lua, &gate, "gate")?;
    gate.set_readonly(true);
    Ok(gate)
}

/// `print`: all arguments as one record.
pub fn print(lua: &Lua, state: &Rc<State>) -> mlua::Result<Function> {
    let state = state.clone();
    lua.create_function(move |_, values: mlua::MultiValue| {
        state.not_in_series("print")?;
        charge(8)?;
        let texts: Vec<String> = values.iter().map(Value::to_string).collect::<mlua::Result<_>>()?;
        log::record(&state, Level::Info, &texts.join("\t"), &Value::Nil);
        Ok(())
    })
}

/// Makes reading or writing what is not there an error, so that misspellings are found.
pub fn undefined_fields(lua: &Lua, table: &Table, what: &'static str) -> mlua::Result<()> {
    let meta = lua.create_table()?;
    let code = if what == "gate" { Code::Field } else { Code::Global };
    let text = move |key: &Value| match key {
        Value::String(name) => format!("{what} has no {}", name.to_string_lossy()),
        _ => format!("{what} has no such member"),
    };
    let read = move |_: &Lua, (_, key): (Value, Value)| -> mlua::Result<Value> { raise(code, text(&key)) };
    meta.raw_set("__index", lua.create_function(read)?)?;
    let write =
        move |_: &Lua, (_, key, _): (Value, Value, Value)| -> mlua::Result<()> { raise(code, text(&key)) };
    meta.raw_set("__newindex", lua.create_function(write)?)?;
    meta.raw_set("__metatable", false)?;
    meta.set_readonly(true);
    table.set_metatable(Some(meta))
}

fn verdicts(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let reject = |_: &Lua, (status, reason, options): (f64, Value, Option<Table>)| {
        let reason = if reason.is_nil() { String::new() } else { reason.to_string()? };
        Verdict::reject(status, &reason, options.as_ref())
    };
    gate.raw_set("reject", lua.create_function(reject)?)?;
    let state = state.clone();
    let discard = lua.create_function(move |_, reason: Option<LuaString>| {
        state.not_in_series("gate.discard")?;
        let reason = reason.map(|reason| reason.to_string_lossy()).unwrap_or_default();
        Ok(Verdict::Discard(super::values::one_line(&reason, 512)))
    })?;
    gate.raw_set("discard", discard)
}

fn constructors(lua: &Lua, state: &Rc<State>, gate: &Table) -> mlua::Result<()> {
    let at = state.clone();
    let when = lua.create_function(move |_, (selector, function): (Value, Function)| {
        at.only_at_load("gate.when")?;
        Ok(When { selector: at.selector(&selector)?, function })
    })?;
    gate.raw_set("when", when)?;
    let at = state.clone();
    let relabel = lua.create_function(move |_, (rules, options): (Value, Option<Table>)| {
        at.only_at_load("gate.relabel")?;
        let RulesHandle { rules, mut only } = rules_of(&rules, at.spec.names)?;
        if let Some(options) = options {
            for pair in options.pairs::<String, Value>() {
                match pair? {
                    (key, value) if key == "only" => only = at.optional_selector(&value)?.or(only),
                    (key, _) => return raise(Code::Value, format!("gate.relabel has no option {key}")),
                }
            }
        }
        Ok(RulesHandle { rules, only })
    })?;
    gate.raw_set("relabel", relabel)?;
    let at = state.clone();
    let selector = lua.create_function(move |_, text: Value| {
        at.only_at_load("gate.selector")?;
        Ok(SelectorHandle(at.selector(&text)?))
    })?;
    gate.raw_set("selector", selector)?;
    let at = state.clone();
    let re = lua.create_function(move |_, pattern: LuaString| {
        at.only_at_load("gate.re")?;
        Ok(RegexHandle(at.spec.regex(&pattern.to_str()?)?))
    })?;
    gate.raw_set("re", re)
}

fn helpers(lua: &Lua, gate: &Table) -> mlua::Result<()> {
    macro_rules! helper {
        ($name:literal, $function:expr) => {
            gate.raw_set($name, lua.create_function($function)?)?
        };
    }
    helper!("hash", |_, text: LuaString| {
        let text = text.as_bytes();
        charge(text.len() / 64)?;
        // The top bits: exact as a double.
        Ok((xxhash_rust::xxh3::xxh3_64(&text) >> 11) as f64)
    });
    helper!("sha256", |_, text: LuaString| {
        let text = text.as_bytes();
        charge(text.len() / 16)?;
        Ok(digest::hex(&digest::sha256(&text)))
    });
    helper!("hmac", |_, (key, text): (LuaString, LuaString)| {
        let (key, text) = (key.as_bytes(), text.as_bytes());
        charge((key.len() + text.len()) / 16)?;
        Ok(digest::hex(&digest::hmac_sha256(&key, &text)))
    });
    helper!("md5mod", |_, (text, modulus): (LuaString, f64)| {
        if modulus.fract() != 0.0 || !(1.0..=9_007_199_254_740_992.0).contains(&modulus) {
            return raise(Code::Value, "the modulus is a whole number, one or more");
        }
        let text = text.as_bytes();
        charge(text.len() / 16)?;
        Ok(digest::md5_mod(&text, modulus as u64) as f64)
    });
    helper!("entropy", |_, text: LuaString| {
        let text = text.as_bytes();
        charge(text.len() / 64)?;
        Ok(entropy(&text))
    });
    helper!("luhn", |_, text: LuaString| {
        let text = text.as_bytes();
        charge(text.len() / 64)?;
        Ok(luhn(&text))
    });
    helper!("ip", |_, text: LuaString| {
        let text = text.to_string_lossy();
        Ok(text.parse::<IpAddr>().ok().map(|ip| ip.to_string()))
    });
    helper!("valid_metric", |_, text: LuaString| {
        charge(text.as_bytes().len() / 64)?;
        Ok(is_legacy_metric_name(&text.to_string_lossy()))
    });
    helper!("valid_label", |_, text: LuaString| {
        charge(text.as_bytes().len() / 64)?;
        Ok(is_legacy_label_name(&text.to_string_lossy()))
    });
    helper!("sanitize", |_, (text, kind): (LuaString, Option<LuaString>)| {
        let colons = match kind.map(|kind| kind.to_string_lossy()).as_deref() {
            None | Some("metric") => true,
            Some("label") => false,
            Some(_) => return raise(Code::Value, "the kind is metric or label"),
        };
        let text = text.as_bytes();
        charge(text.len() / 64)?;
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || (colons && *byte == b':');
        let mut out = String::new();
        if text.first().is_none_or(u8::is_ascii_digit) {
            out.push('_');
        }
        out.extend(text.iter().map(|byte| if legal(byte) { char::from(*byte) } else { '_' }));
        Ok(out)
    });
    helper!("split", |lua, (text, separator, most): (LuaString, LuaString, Option<f64>)| {
        let (text, separator) = (text.as_bytes(), separator.as_bytes());
        charge(text.len() / 64)?;
        if separator.is_empty() {
            return raise(Code::Value, "the separator is empty");
        }
        let most = most.map_or(usize::MAX, |most| most.max(1.0) as usize);
        let list = lua.create_table()?;
        let mut start = 0;
        for (count, at) in memchr::memmem::find_iter(&text, &*separator).enumerate() {
            if count + 1 >= most {
                break;
            }
            charge(1)?;
            list.raw_push(lua.create_string(&text[start..at])?)?;
            start = at + separator.len();
        }
        list.raw_push(lua.create_string(&text[start..])?)?;
        Ok(list)
    });
    helper!("trim", |lua, text: LuaString| lua.create_string(text.as_bytes().trim_ascii()));
    helper!("fmt", |_, number: f64| Ok(number_text(number)));
    Ok(())
}

/// Shannon entropy in bits per byte.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0u32; 256];
    for byte in text {
        counts[usize::from(*byte)] += 1;
    }
    let share = |count: &u32| f64::from(*count) / text.len() as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * share.log2()).sum()
}

/// Whether a text is 14 to 19 digits, with blanks and dashes between, whose check digit is right
/// (ISO/IEC 7812-1).
fn luhn(text: &[u8]) -> bool {
    let mut sum = 0;
    let mut digits = 0;
    for byte in text.iter().rev() {
        let digit = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b' ' | b'-' => continue,
            _ => return false,
        };
        let doubled = if digits % 2 == 1 { digit * 2 } else { digit };
        sum += doubled / 10 + doubled % 10;
        digits += 1;
    }
    (14..=19).contains(&digits) && sum % 10 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_and_check_digits() {
        assert_eq!(entropy(b"aaaa"), 0.0);
        assert_eq!(entropy(b"abcd"), 2.0);
        assert_eq!(entropy(b""), 0.0);
        assert!(luhn(b"4111 1111 1111 1111") && luhn(b"378282246310005"));
        assert!(!luhn(b"4111 1111 1111 1112") && !luhn(b"0") && !luhn(b"411111111111111a"));
    }
}
