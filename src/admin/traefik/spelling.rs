//! Options as Traefik writes them: what is not set is left out. Secrets are left out too, as anybody may read this.

use serde_json::Value;

/// What stands for a secret.
const HIDDEN: &str = "xxxx";

/// Leaves out what is not set, and hides passwords and private keys.
pub fn as_traefik(mut options: Value) -> Value {
    clean(&mut options, "");
    options
}

fn clean(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            // An empty header is an order to take it away.
            let keeps_empty = key.starts_with("custom");
            fields.retain(|_, field| match field {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::String(text) => keeps_empty || !text.is_empty(),
                _ => true,
            });
            for (key, field) in fields.iter_mut() {
                clean(field, key);
            }
        }
        Value::Array(items) => {
            for item in items {
                clean(item, key);
            }
        }
        Value::String(text) if key == "users" => {
            if let Some(end) = text.rfind(':') {
                text.replace_range(end + 1.., HIDDEN);
            }
        }
        Value::String(text) if key == "password" || text.contains("PRIVATE KEY-----") => {
            HIDDEN.clone_into(text);
        }
        _ => {}
    }
}
