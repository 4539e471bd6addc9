//! Redaction in JSON, which stays JSON.
//!
//! A value is read behind its field's name: a password is known as one by that.

use guard::Vault;
use serde_json::{Map, Value};

/// Fields of a JSON schema whose texts are words and values; all others are syntax.
const OF_SCHEMA: [&str; 6] = ["description", "title", "default", "examples", "enum", "const"];

/// JSON text with placeholders. What holds nothing stays to the byte, and what is no JSON is read as plain text.
pub(super) fn redact_text(text: &str, vault: &mut Vault) -> String {
    let Ok(before) = serde_json::from_str::<Value>(text) else { return vault.redact(text) };
    let mut after = before.clone();
    redact(&mut after, None, vault);
    if after == before { text.to_owned() } else { after.to_string() }
}

/// A value under this name. A number that must not leave becomes a text.
pub(super) fn redact(value: &mut Value, name: Option<&str>, vault: &mut Vault) {
    match value {
        Value::String(text) => *text = redact_named(text, name, vault),
        Value::Number(number) => {
            let plain = number.to_string();
            let redacted = redact_named(&plain, name, vault);
            if redacted != plain {
                *value = Value::String(redacted);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, name, vault)),
        Value::Object(fields) => {
            let redacted = std::mem::take(fields).into_iter().map(|(name, mut value)| {
                redact(&mut value, Some(&name), vault);
                (vault.redact(&name), value)
            });
            *fields = redacted.collect::<Map<_, _>>();
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The words of a schema.
pub(super) fn redact_schema(schema: &mut Value, name: Option<&str>, vault: &mut Vault) {
    match schema {
        Value::String(text) if name.is_some_and(|name| OF_SCHEMA.contains(&name)) => *text = vault.redact(text),
        Value::Array(values) => values.iter_mut().for_each(|value| redact_schema(value, name, vault)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| redact_schema(value, Some(name), vault)),
        _ => {}
    }
}

fn redact_named(text: &str, name: Option<&str>, vault: &mut Vault) -> String {
    let Some(name) = name else { return vault.redact(text) };
    let before = format!("{name}: ");
    let redacted = vault.redact(&format!("{before}{text}"));
    // The name itself may be one that must not leave.
    redacted.strip_prefix(&before).map_or_else(|| vault.redact(text), str::to_owned)
}

/// As it stands between the quotes of a JSON string.
pub(super) fn escaped(value: &str) -> String {
    let quoted = Value::from(value).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use guard::{Kinds, Vault};
    use serde_json::json;

    #[test]
    fn json_stays_json_and_what_holds_nothing_stays_as_it_is() {
        let mut vault = Vault::new(Kinds::ALL);
        assert_eq!(redact_text("{ \"b\": 1,  \"a\": [2] }", &mut vault), "{ \"b\": 1,  \"a\": [2] }");
        let text = json!({
            "to": ["ann@example.org", 4_111_111_111_111_111_u64], "password": "hunter2!x9", "bob@example.org": null,
            "key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END PRIVATE KEY-----",
        });
        let redacted = redact_text(&text.to_string(), &mut vault);
        let read: Value = serde_json::from_str(&redacted).unwrap();
        assert_eq!(read["to"], json!(["[EMAIL_2]", "[CARD_1]"]), "{redacted}");
        assert_eq!((&read["password"], read.get("[EMAIL_1]")), (&json!("[SECRET_2]"), Some(&Value::Null)), "{redacted}");
        let restored = vault.restorer().writing(escaped).push(&redacted);
        let restored: Value = serde_json::from_str(&restored).unwrap();
        assert_eq!((&restored["key"], &restored["to"][0], &restored["password"]), (&text["key"], &text["to"][0], &text["password"]));
        assert_eq!(redact_text("{\"a\": \"ann@example.org", &mut vault), "{\"a\": \"[EMAIL_2]");
    }

    #[test]
    fn of_a_schema_only_words_and_values_are_redacted() {
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft", "type": "object", "required": ["to"], "maximum": 4_111_111_111_111_111_u64,
            "properties": { "to": { "type": "string", "pattern": "ann@example.org", "enum": ["ann@example.org"], "description": "Not bob@example.org" } },
        });
        let before = schema.clone();
        redact_schema(&mut schema, None, &mut Vault::new(Kinds::ALL));
        let to = &schema["properties"]["to"];
        assert_eq!((&to["enum"], &to["description"]), (&json!(["[EMAIL_2]"]), &json!("Not [EMAIL_1]")));
        for pointer in ["/$schema", "/required", "/maximum", "/properties/to/pattern"] {
            assert_eq!(schema.pointer(pointer), before.pointer(pointer));
        }
    }
}
