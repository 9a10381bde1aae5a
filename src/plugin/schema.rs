//! The configuration that a plugin declares, and the values that plugins.yml gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::{Code, Fault};
use super::regex::Regex;
use super::relabel::Ruleset;
use super::selector::Selector;
use super::value::Value;
use crate::model::NameRules;

/// A checked and compiled configuration value.
#[derive(Clone, Debug)]
pub enum Setting {
    Text(String),
    Bool(bool),
    Number(f64),
    List(Vec<Setting>),
    Map(Vec<(String, Setting)>),
    Selector(Arc<Selector>),
    Regex(Arc<Regex>),
    Rules(Arc<Ruleset>),
    /// Never printed.
    Secret(String),
}

/// The values of one plugin by key.
pub type Settings = BTreeMap<String, Setting>;

/// Checks `given` against the `config` table of a plugin's manifest. Also returns the keys that are
/// given but not declared.
///
/// # Errors
///
/// E_MANIFEST if the declaration is wrong, E_CONFIG if a value is.
pub fn check(declared: &Value, given: &Value, names: NameRules) -> Result<(Settings, Vec<String>), Fault> {
    let manifest = |text: String| Fault::new(Code::Manifest, text);
    let declared = match declared {
        Value::Null => &[][..],
        Value::Map(pairs) => &pairs[..],
        Value::List(items) if items.is_empty() => &[][..],
        other => return Err(manifest(format!("config must be a table of schemas, not {}", other.kind()))),
    };
    let given = match given {
        Value::Null => &[][..],
        Value::Map(pairs) => &pairs[..],
        other => return Err(Fault::new(Code::Config, format!("config must be a map, not {}", other.kind()))),
    };
    let mut settings = Settings::new();
    for (key, schema) in declared {
        let schema = Schema::read(schema).map_err(|text| manifest(format!("config.{key}: {text}")))?;
        let value = given.iter().find(|pair| pair.0 == *key).map(|pair| &pair.1);
        let (value, code) = match (value, &schema.default) {
            (Some(value), _) if *value != Value::Null => (value, Code::Config),
            (_, Some(default)) => (default, Code::Manifest),
            _ if schema.required => return Err(Fault::new(Code::Config, format!("{key} is required"))),
            _ => continue,
        };
        let setting =
            schema.setting(value, names).map_err(|text| Fault::new(code, format!("{key}: {text}")))?;
        settings.insert(key.clone(), setting);
    }
    let unknown = given.iter().map(|pair| &pair.0).filter(|key| !declared.iter().any(|pair| pair.0 == **key));
    Ok((settings, unknown.cloned().collect()))
}

/// One entry of a `config` table.
struct Schema {
    kind: String,
    default: Option<Value>,
    required: bool,
    min: f64,
    max: f64,
    values: Vec<String>,
}

const SCALARS: [&str; 10] =
    ["string", "boolean", "number", "integer", "duration", "bytes", "enum", "label", "metric", "secret"];

impl Schema {
    fn read(value: &Value) -> Result<Schema, String> {
        let Value::Map(pairs) = value else { return Err("a schema is a table with a type".into()) };
        let mut schema = Schema {
            kind: String::new(),
            default: None,
            required: false,
            min: f64::NEG_INFINITY,
            max: f64::INFINITY,
            values: Vec::new(),
        };
        for (key, value) in pairs {
            match (key.as_str(), value) {
                ("type", Value::Text(kind)) => kind.replace(' ', "").clone_into(&mut schema.kind),
                ("default", value) => schema.default = Some(value.clone()),
                ("required", Value::Bool(required)) => schema.required = *required,
                ("min", value) => schema.min = number(value).ok_or("min must be a number")?,
                ("max", value) => schema.max = number(value).ok_or("max must be a number")?,
                ("values", value) => {
                    let words = value.as_list().and_then(|list| list.iter().map(Value::as_word).collect());
                    schema.values = words.ok_or("values must be a list of words")?;
                }
                ("help", Value::Text(_)) => {}
                (other, value) => return Err(format!("{other} cannot be {}", value.kind())),
            }
        }
        let inner = schema.kind.strip_prefix("list<").or_else(|| schema.kind.strip_prefix("map<string,"));
        let known = match inner.and_then(|inner| inner.strip_suffix('>')) {
            Some(inner) => SCALARS.contains(&inner),
            None => {
                SCALARS.contains(&schema.kind.as_str())
                    || ["selector", "regex", "relabel"].contains(&schema.kind.as_str())
            }
        };
        if !known {
            return Err(format!("unknown type {:?}", schema.kind));
        }
        Ok(schema)
    }

    fn setting(&self, value: &Value, names: NameRules) -> Result<Setting, String> {
        if let Some(inner) = self.kind.strip_prefix("list<").and_then(|inner| inner.strip_suffix('>')) {
            let list = value.as_list().ok_or_else(|| format!("must be a list, not {}", value.kind()))?;
            return list
                .iter()
                .map(|item| self.scalar(inner, item, names))
                .collect::<Result<_, _>>()
                .map(Setting::List);
        }
        if let Some(inner) = self.kind.strip_prefix("map<string,").and_then(|inner| inner.strip_suffix('>')) {
            let pairs = match value {
                Value::Map(pairs) => &pairs[..],
                Value::List(items) if items.is_empty() => &[][..],
                other => return Err(format!("must be a map, not {}", other.kind())),
            };
            let pair = |(key, item): &(String, Value)| Ok((key.clone(), self.scalar(inner, item, names)?));
            return pairs.iter().map(pair).collect::<Result<_, String>>().map(Setting::Map);
        }
        match self.kind.as_str() {
            "relabel" => Ruleset::new(value, names).map(Arc::new).map(Setting::Rules),
            "selector" => Selector::new(&text(value)?).map(Arc::new).map(Setting::Selector),
            "regex" => Regex::new(&text(value)?).map(Arc::new).map(Setting::Regex),
            scalar => self.scalar(scalar, value, names),
        }
    }

    fn scalar(&self, kind: &str, value: &Value, names: NameRules) -> Result<Setting, String> {
        let bounded = |number: f64| {
            if number < self.min || number > self.max {
                return Err(format!("{number} is outside {} to {}", self.min, self.max));
            }
            Ok(Setting::Number(number))
        };
        match kind {
            "boolean" => match value {
                Value::Bool(is) => Ok(Setting::Bool(*is)),
                other => Err(format!("must be true or false, not {}", other.kind())),
            },
            "number" => {
                bounded(number(value).ok_or_else(|| format!("must be a number, not {}", value.kind()))?)
            }
            "integer" => {
                let number = number(value).filter(|n| n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_992.0);
                bounded(number.ok_or_else(|| format!("must be a whole number, not {}", value.kind()))?)
            }
            "duration" => {
                let seconds = match value {
                    Value::Text(text) => duration_seconds(text),
                    other => number(other),
                };
                bounded(seconds.ok_or("must be a duration such as 90s or 1h30m")?)
            }
            "bytes" => {
                let bytes = match value {
                    Value::Text(text) => bytes(text),
                    other => number(other),
                };
                bounded(bytes.ok_or("must be a size such as 8MiB or 10kB")?)
            }
            "enum" => {
                let word = text(value)?;
                if !self.values.contains(&word) {
                    return Err(format!("{word:?} is none of {}", self.values.join(", ")));
                }
                Ok(Setting::Text(word))
            }
            "label" => {
                let word = text(value)?;
                let legal = names.is_label_name(&word) && !word.starts_with("__");
                if legal { Ok(Setting::Text(word)) } else { Err(format!("{word:?} is no label name")) }
            }
            "metric" => {
                let word = text(value)?;
                let legal = names.is_metric_name(&word);
                if legal { Ok(Setting::Text(word)) } else { Err(format!("{word:?} is no metric name")) }
            }
            "secret" => secret(&text(value)?).map(Setting::Secret),
            _ => text(value).map(Setting::Text),
        }
    }
}

fn text(value: &Value) -> Result<String, String> {
    value.as_word().ok_or_else(|| format!("must be a string, not {}", value.kind()))
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// The secret itself: from the environment (`${NAME}`), from a file (`file:path`), or as written.
/// Errors do not repeat it.
fn secret(text: &str) -> Result<String, String> {
    if let Some(path) = text.strip_prefix("file:") {
        let read = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
        return Ok(read.trim_end_matches(['\n', '\r']).to_owned());
    }
    let Some((before, rest)) = text.split_once("${") else { return Ok(text.to_owned()) };
    let (name, after) = rest.split_once('}').ok_or("an unfinished ${")?;
    let value = std::env::var(name).map_err(|_| format!("the environment has no {name}"))?;
    Ok(format!("{before}{value}{after}"))
}

/// Seconds in a text such as `90s`, `1h30m` or `2ms`.
pub fn duration_seconds(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] =
        [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0), ("d", 86400.0)];
    let mut rest = text;
    let mut sum = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|char: char| !char.is_ascii_digit() && char != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        rest = &rest[unit.len()..];
        sum += number * seconds;
    }
    Some(sum)
}

/// Bytes in a text such as `8MiB` or `10kB`.
pub fn bytes(text: &str) -> Option<f64> {
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    let unit = match text[end..].trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, Value)]) -> Value {
        Value::Map(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    fn text(text: &str) -> Value {
        Value::Text(text.into())
    }

    fn one(schema: &[(&str, Value)], given: Value) -> Result<Setting, String> {
        let declared = map(&[("k", map(schema))]);
        let checked = check(&declared, &map(&[("k", given)]), NameRules::Legacy);
        checked.map(|(mut settings, _)| settings.remove("k").unwrap()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn each_type_takes_its_values_and_no_others() {
        let kind =
            |kind: &str| vec![("type", text(kind)), ("values", Value::List(vec![text("a"), text("b")]))];
        let good: Vec<(&str, Value, &str)> = vec![
            ("string", text("x"), "Text(\"x\")"),
            ("string", Value::Int(5), "Text(\"5\")"),
            ("boolean", Value::Bool(true), "Bool(true)"),
            ("number", Value::Float(0.5), "Number(0.5)"),
            ("integer", Value::Int(5), "Number(5.0)"),
            ("duration", text("1h30m"), "Number(5400.0)"),
            ("duration", text("2ms"), "Number(0.002)"),
            ("bytes", text("8MiB"), "Number(8388608.0)"),
            ("bytes", text("10kB"), "Number(10000.0)"),
            ("enum", text("b"), "Text(\"b\")"),
            ("list<integer>", Value::List(vec![Value::Int(1)]), "List([Number(1.0)])"),
            ("map<string,string>", map(&[("a", text("b"))]), "Map([(\"a\", Text(\"b\"))])"),
            ("label", text("team"), "Text(\"team\")"),
            ("metric", text("a:b"), "Text(\"a:b\")"),
        ];
        for (name, value, expected) in good {
            assert_eq!(format!("{:?}", one(&kind(name), value).unwrap()), expected, "{name}");
        }
        for (name, value) in [
            ("boolean", text("yes")),
            ("number", text("1")),
            ("integer", Value::Float(1.5)),
            ("integer", Value::Float(1e17)),
            ("duration", text("1 hour")),
            ("duration", text("")),
            ("bytes", text("8XB")),
            ("enum", text("c")),
            ("list<integer>", Value::Int(1)),
            ("list<integer>", Value::List(vec![text("x")])),
            ("map<string,string>", text("x")),
            ("label", text("a-b")),
            ("label", text("__x")),
            ("metric", text("a-b")),
            ("selector", text("{")),
            ("regex", text("(")),
            ("relabel", text("x")),
            ("secret", text("file:/no/such/file")),
            ("secret", text("${NO_SUCH_VARIABLE_HERE}")),
        ] {
            let error = one(&kind(name), value.clone()).unwrap_err();
            assert!(error.starts_with("E_CONFIG: k: "), "{name} {value:?}: {error}");
        }
    }

    #[test]
    fn bounds_defaults_and_unknown_keys() {
        let bounded = [("type", text("integer")), ("min", Value::Int(1)), ("max", Value::Int(3))];
        assert!(one(&bounded, Value::Int(3)).is_ok());
        assert!(one(&bounded, Value::Int(4)).is_err());
        let declared = map(&[
            ("d", map(&[("type", text("string")), ("default", text("x"))])),
            ("o", map(&[("type", text("string"))])),
        ]);
        let (settings, unknown) =
            check(&declared, &map(&[("typo", Value::Int(1))]), NameRules::Legacy).unwrap();
        assert_eq!((settings.len(), unknown), (1, vec!["typo".to_owned()]));
        let required = map(&[("r", map(&[("type", text("string")), ("required", Value::Bool(true))]))]);
        assert_eq!(check(&required, &Value::Null, NameRules::Legacy).unwrap_err().code, Code::Config);
        for bad in [text("x"), map(&[("type", text("nope"))]), map(&[("typ", text("string"))])] {
            let fault = check(&map(&[("k", bad)]), &Value::Null, NameRules::Legacy).unwrap_err();
            assert_eq!(fault.code, Code::Manifest);
        }
    }
}
