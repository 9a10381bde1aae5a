//! Values that scripts get from `gate`: verdicts, selectors, regexes, rules; and plain values both ways.

use std::sync::Arc;

use mlua::{
    AnyUserData, Function, IntoLua, Lua, LuaString, MetaMethod, Table, UserData, UserDataMethods, Value,
};

use super::log::cut;
use crate::format::float;
use crate::plugin::budget::charge;
use crate::plugin::expand::Template;
use crate::plugin::fault::{Code, Fault, raise};
use crate::plugin::regex::Regex;
use crate::plugin::relabel::Ruleset;
use crate::plugin::schema::Setting;
use crate::plugin::selector::Selector;
use crate::plugin::value::Value as Plain;

/// A refusal that a script made.
#[derive(Clone, Debug, PartialEq)]
pub struct Reject {
    pub status: u16,
    pub reason: String,
    pub code: String,
    /// Whole seconds.
    pub retry_after: Option<u64>,
    pub www_authenticate: Option<String>,
    pub mark_failed: bool,
}

/// What a hook may return.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Keep,
    Drop,
    Reject(Reject),
    Discard(String),
}

impl UserData for Verdict {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| {
            Ok(match this {
                Verdict::Keep => "gate.KEEP",
                Verdict::Drop => "gate.DROP",
                Verdict::Reject(_) => "gate.reject",
                Verdict::Discard(_) => "gate.discard",
            })
        });
    }
}

/// A text for one line of an answer or header: control characters become blanks.
pub fn one_line(text: &str, bytes_max: usize) -> String {
    let mut line: String = text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
    cut(&mut line, bytes_max);
    line
}

impl Verdict {
    /// `gate.reject(status, reason, opts?)`.
    pub fn reject(status: f64, reason: &str, options: Option<&Table>) -> mlua::Result<Verdict> {
        let whole = status.fract() == 0.0;
        if !whole || !((400.0..=499.0).contains(&status) || status == 503.0) {
            return raise(
                Code::Value,
                format!("a rejection has a status of 400 to 499 or 503, not {status}"),
            );
        }
        let mut reject = Reject {
            status: status as u16,
            reason: one_line(reason, 512),
            code: "policy".into(),
            retry_after: None,
            www_authenticate: None,
            mark_failed: false,
        };
        let Some(options) = options else { return Ok(Verdict::Reject(reject)) };
        for pair in options.pairs::<String, Value>() {
            let (key, value) = pair?;
            match (key.as_str(), &value) {
                ("retry_after", Value::Nil) => {}
                ("retry_after", value) => {
                    let seconds = number_of(value).filter(|seconds| (0.0..=1e9).contains(seconds));
                    let Some(seconds) = seconds else {
                        return raise(Code::Value, "retry_after is in seconds");
                    };
                    reject.retry_after = Some(seconds.ceil() as u64);
                }
                ("www_authenticate", Value::String(text)) if reject.status == 401 => {
                    reject.www_authenticate = Some(one_line(&text.to_str()?, 512));
                }
                ("www_authenticate", _) => {
                    return raise(Code::Value, "www_authenticate goes with status 401");
                }
                ("code", Value::String(word)) => {
                    let word = word.to_str()?;
                    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
                    if word.is_empty() || word.len() > 32 || !word.bytes().all(legal) {
                        return raise(Code::Value, "code is a short word of letters, digits, _ and -");
                    }
                    reject.code = word.to_owned();
                }
                ("mark_failed", Value::Boolean(is)) => reject.mark_failed = *is,
                (other, _) => return raise(Code::Value, format!("gate.reject has no option {other}")),
            }
        }
        Ok(Verdict::Reject(reject))
    }
}

/// A hook with a selector in front: `gate.when`.
pub struct When {
    pub selector: Arc<Selector>,
    pub function: Function,
}

impl UserData for When {}

#[derive(Clone)]
pub struct SelectorHandle(pub Arc<Selector>);

impl UserData for SelectorHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, this, ()| Ok(this.0.text().to_owned()));
    }
}

#[derive(Clone)]
pub struct RulesHandle {
    pub rules: Arc<Ruleset>,
    pub only: Option<Arc<Selector>>,
}

impl UserData for RulesHandle {}

#[derive(Clone)]
pub struct RegexHandle(pub Arc<Regex>);

impl UserData for RegexHandle {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method("test", |_, this, text: LuaString| {
            let text = text.as_bytes();
            charge(text.len() / 64)?;
            Ok(this.0.is_match(&text))
        });
        methods.add_method("find", |_, this, (text, init): (LuaString, Option<f64>)| {
            let text = text.as_bytes();
            charge(text.len() / 64)?;
            let start = init.unwrap_or(1.0).max(1.0) as usize - 1;
            if start > text.len() {
                return Ok((None, None));
            }
            let found = this.0.find_at(&text, start);
            Ok((found.map(|at| at.0 + 1), found.map(|at| at.1)))
        });
        methods.add_method("match", |lua, this, text: LuaString| {
            let text = text.as_bytes();
            charge(text.len() / 64)?;
            let Some(captures) = this.0.captures(&text) else { return Ok(mlua::MultiValue::new()) };
            let skip = usize::from(captures.len() > 1);
            let value = |group: Option<regex::bytes::Match<'_>>| match group {
                Some(group) => lua.create_string(group.as_bytes()).map(Value::String),
                None => Ok(Value::Nil),
            };
            captures.iter().skip(skip).map(value).collect::<mlua::Result<mlua::MultiValue>>()
        });
        methods.add_method(
            "gsub",
            |lua, this, (text, template, most): (LuaString, LuaString, Option<f64>)| {
                let text = text.as_bytes();
                charge(text.len() / 64)?;
                let template = Template::for_regex(&template.to_str()?, &this.0);
                let most = most.map_or(usize::MAX, |most| most.max(0.0) as usize);
                let (out, count) = substitute(&this.0, &text, &template, most)?;
                Ok((lua.create_string(out)?, count))
            },
        );
    }
}

/// Replaces up to `most` matches; returns the text and how many there were.
pub fn substitute(
    regex: &Regex,
    text: &[u8],
    template: &Template,
    most: usize,
) -> Result<(Vec<u8>, usize), Fault> {
    let (mut out, mut end, mut count) = (Vec::with_capacity(text.len()), 0, 0);
    for captures in regex.captures_iter(text).take(most) {
        let Some(whole) = captures.get(0) else { break };
        out.extend_from_slice(&text[end..whole.start()]);
        template.expand_captures(&mut out, &captures);
        end = whole.end();
        count += 1;
        charge(1 + out.len() / 4096)?;
        if out.len() > 4 * 1024 * 1024 {
            return Err(Fault::new(Code::Limit, "the replaced text is too long"));
        }
    }
    out.extend_from_slice(&text[end..]);
    Ok((out, count))
}

/// Nesting of tables that describe something.
const DEPTH_MAX: usize = 8;

/// A Lua value that describes something, such as a rule or a schema.
///
/// # Errors
///
/// E_VALUE: it holds functions, or tables nested too deeply.
pub fn plain(value: &Value, depth: usize) -> mlua::Result<Plain> {
    Ok(match value {
        Value::Nil => Plain::Null,
        Value::Boolean(is) => Plain::Bool(*is),
        Value::Integer(number) => Plain::Int(*number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => Plain::Int(*number as i64),
        Value::Number(number) => Plain::Float(*number),
        Value::String(text) => Plain::Text(text.to_str()?.to_owned()),
        Value::Table(table) if depth < DEPTH_MAX => {
            if table.raw_len() > 0 {
                let items = table.sequence_values::<Value>().map(|item| plain(&item?, depth + 1));
                Plain::List(items.collect::<mlua::Result<_>>()?)
            } else {
                let mut pairs = Vec::new();
                for pair in table.pairs::<Value, Value>() {
                    let (key, value) = pair?;
                    let Value::String(key) = key else { return raise(Code::Value, "keys must be strings") };
                    pairs.push((key.to_str()?.to_owned(), plain(&value, depth + 1)?));
                }
                // Lua keeps no order; this one is stable.
                pairs.sort_by(|a: &(String, Plain), b| a.0.cmp(&b.0));
                if pairs.is_empty() { Plain::List(Vec::new()) } else { Plain::Map(pairs) }
            }
        }
        other => return raise(Code::Value, format!("a {} is not expected here", other.type_name())),
    })
}

/// A configuration value as scripts see it; tables are read-only.
pub fn setting(lua: &Lua, value: &Setting) -> mlua::Result<Value> {
    Ok(match value {
        Setting::Text(text) | Setting::Secret(text) => Value::String(lua.create_string(text)?),
        Setting::Bool(is) => Value::Boolean(*is),
        Setting::Number(number) => Value::Number(*number),
        Setting::List(items) => {
            let table = lua.create_table()?;
            for item in items {
                table.raw_push(setting(lua, item)?)?;
            }
            table.set_readonly(true);
            Value::Table(table)
        }
        Setting::Map(pairs) => {
            let table = lua.create_table()?;
            for (key, item) in pairs {
                table.raw_set(key.as_str(), setting(lua, item)?)?;
            }
            table.set_readonly(true);
            Value::Table(table)
        }
        Setting::Selector(selector) => SelectorHandle(selector.clone()).into_lua(lua)?,
        Setting::Regex(regex) => RegexHandle(regex.clone()).into_lua(lua)?,
        Setting::Rules(rules) => RulesHandle { rules: rules.clone(), only: None }.into_lua(lua)?,
    })
}

/// The rules that a script gives: compiled ones, or a list.
pub fn rules_of(value: &Value, names: crate::model::NameRules) -> mlua::Result<RulesHandle> {
    if let Value::UserData(data) = value {
        return match data.borrow::<RulesHandle>() {
            Ok(handle) => Ok(handle.clone()),
            Err(_) => raise(Code::Value, "relabel rules are expected"),
        };
    }
    let list = plain(value, 0)?;
    match Ruleset::new(&list, names) {
        Ok(rules) => Ok(RulesHandle { rules: Arc::new(rules), only: None }),
        Err(text) => raise(Code::Rule, text),
    }
}

/// Text that a script gives, owned.
///
/// # Errors
///
/// E_VALUE: it is no UTF-8.
pub fn utf8(text: &LuaString) -> Result<String, Fault> {
    text.to_str().map(|text| text.to_owned()).map_err(|_| Fault::new(Code::Value, "text must be UTF-8"))
}

/// The number that a value is; Luau keeps whole ones as integers at times.
pub fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// A label value that a script gives: text, a number in its shortest form, or nil for none.
pub fn label_value(value: &Value) -> mlua::Result<Option<String>> {
    match value {
        Value::Nil => Ok(None),
        Value::String(text) => match text.to_str() {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => raise(Code::Value, "a label value must be UTF-8"),
        },
        Value::Integer(number) => Ok(Some(number.to_string())),
        Value::Number(number) => Ok(Some(number_text(*number))),
        other => {
            raise(Code::Value, format!("a label value is a string or number, not a {}", other.type_name()))
        }
    }
}

/// The shortest text of a number; whole ones without an exponent while they are exact.
pub fn number_text(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 {
        return (number as i64).to_string();
    }
    let mut text = Vec::new();
    float::write_float(&mut text, number);
    String::from_utf8_lossy(&text).into_owned()
}

/// The verdict that a hook returned.
///
/// # Errors
///
/// E_RETURN: it is none.
pub fn verdict(value: &Value) -> Result<Verdict, Fault> {
    match value {
        Value::Nil | Value::Boolean(true) => Ok(Verdict::Keep),
        Value::Boolean(false) => Ok(Verdict::Drop),
        Value::UserData(data) => match AnyUserData::borrow::<Verdict>(data) {
            Ok(verdict) => Ok(verdict.clone()),
            Err(_) => Err(Fault::new(Code::Return, "a hook returned a handle")),
        },
        other => Err(Fault::new(Code::Return, format!("a hook returned a {}", other.type_name()))),
    }
}
