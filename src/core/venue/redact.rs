//! What of a message to an exchange may be shown.
//!
//! Owns the list of names under which values are no secrets. Promises that every other text and
//! number of a message is hidden, and all of a message that logs in. Never sends anything.

use serde_json::Value;

/// Stands for a value that is not shown.
const HIDDEN: &str = "(hidden)";

/// Names of JSON members whose values say what is subscribed to, and how.
const SHOWN: &[&str] = &[
    "action",
    "arg",
    "args",
    "bars",
    "book",
    "books",
    "chanId",
    "channel",
    "channels",
    "depth",
    "event",
    "feed",
    "freq",
    "id",
    "instFamily",
    "instId",
    "instIds",
    "instType",
    "interval",
    "len",
    "limit",
    "method",
    "name",
    "op",
    "orderbooks",
    "pair",
    "pairs",
    "params",
    "payload",
    "product_ids",
    "quotes",
    "reqid",
    "req_id",
    "request",
    "snapshot",
    "stream",
    "streams",
    "sub",
    "subscriptions",
    "symbol",
    "symbols",
    "time",
    "topic",
    "topics",
    "trades",
    "type",
    "unsub",
];

/// Words of a message that logs in: its lists may hold keys and signatures without names.
const LOGINS: &[&str] = &["auth", "authenticate", "authorize", "login", "logon", "signin"];

/// A message as it may be shown. What is no JSON is hidden as a whole.
pub fn shown_message(text: &str) -> String {
    // A time is a number without quotes, which is put in when the message is sent.
    let filled = text.replace(":{time:ms}", ":\"{time:ms}\"").replace(":{time}", ":\"{time}\"");
    let Ok(mut value) = serde_json::from_str::<Value>(&filled) else {
        return format!("{HIDDEN}: a message of {} bytes that is no JSON", text.len());
    };
    let is_login = logs_in(&value);
    let original = value.clone();
    redact(&mut value, false, is_login);
    // As it is sent, with the members in their order, where nothing is hidden.
    if value == original { text.to_owned() } else { value.to_string() }
}

fn logs_in(value: &Value) -> bool {
    match value {
        Value::String(text) => LOGINS.iter().any(|word| text.eq_ignore_ascii_case(word)),
        Value::Array(items) => items.iter().any(logs_in),
        Value::Object(members) => members.values().any(logs_in),
        _ => false,
    }
}

fn redact(value: &mut Value, is_shown: bool, is_login: bool) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| redact(item, is_shown, is_login));
        }
        Value::Object(members) => {
            for (name, value) in members {
                redact(value, SHOWN.contains(&&**name), is_login);
            }
        }
        Value::String(text) => {
            let is_word = LOGINS.iter().any(|word| text.eq_ignore_ascii_case(word));
            let hides = if is_login { !is_word } else { !is_shown };
            if hides && !is_placeholder(text) {
                HIDDEN.clone_into(text);
            }
        }
        Value::Number(_) if is_login || !is_shown => *value = HIDDEN.into(),
        Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Whether a text is one placeholder, such as `{secret:key}`, which stands for a value.
fn is_placeholder(text: &str) -> bool {
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    inside.is_some_and(|inside| !inside.contains(['{', '}']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_subscribed_to_is_shown_and_everything_else_is_not() {
        for (text, expected) in [
            (r#"{"op":"subscribe","args":["t.BTC"]}"#, r#"{"args":["t.BTC"],"op":"subscribe"}"#),
            (r#"{"key":"hunter2"}"#, r#"{"key":"(hidden)"}"#),
            (r#"{"pin":1234,"depth":5,"x":true}"#, r#"{"depth":5,"pin":"(hidden)","x":true}"#),
            (
                r#"{"op":"auth","args":["hunter2",17]}"#,
                r#"{"args":["(hidden)","(hidden)"],"op":"auth"}"#,
            ),
            (
                r#"{"action":"auth","key":"{secret:key}","secret":"hunter2"}"#,
                r#"{"action":"auth","key":"{secret:key}","secret":"(hidden)"}"#,
            ),
            (
                r#"{"method":"subscribe","params":{"channel":"trade","token":"hunter2"}}"#,
                r#"{"method":"subscribe","params":{"channel":"trade","token":"(hidden)"}}"#,
            ),
            (r#"["hunter2"]"#, r#"["(hidden)"]"#),
            ("AUTH hunter2", "(hidden): a message of 12 bytes that is no JSON"),
        ] {
            let shown = shown_message(text);
            let (shown, expected): (Value, Value) = match serde_json::from_str(&shown) {
                Ok(shown) => (shown, serde_json::from_str(expected).unwrap()),
                Err(_) => (shown.into(), expected.into()),
            };
            assert_eq!(shown, expected, "{text}");
        }
    }
}
