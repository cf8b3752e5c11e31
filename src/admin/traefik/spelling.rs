//! Options as Traefik writes them: what is not set, or is as it is without being set, is left out. Secrets are left out
//! too, as anybody may read this.

use serde_json::{Value, json};

/// What stands for a secret.
const HIDDEN: &str = "xxxx";
/// A false or zero of these is not what goes without saying.
const SAID: [&str; 6] =
    ["passHostHeader", "followRedirects", "mirrorBody", "weight", "autoDetect", "passthrough"];
/// What is left out where there is nothing in it; others, such as `cookie` or `contentType`, say something by being there.
const MAPS: [&str; 9] = [
    "customRequestHeaders",
    "customResponseHeaders",
    "sslProxyHeaders",
    "statusRewrites",
    "sourceCriterion",
    "headers",
    "transport",
    "lifeCycle",
    "respondingTimeouts",
];

/// Leaves out what is not set, and hides passwords and private keys.
pub fn as_traefik(mut options: Value) -> Value {
    clean(&mut options, "");
    options
}

/// Names of the same provider as Traefik shows them where they are options: without it.
pub fn without_provider(value: &mut Value, provider: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                let names = ["name", "service", "fallback", "middlewares", "services", "mirrors", "options"];
                if names.contains(&key.as_str()) || matches!(field, Value::Object(_)) {
                    without_provider(field, provider);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_provider(item, provider)),
        Value::String(name) => {
            let own = name.strip_suffix(provider).and_then(|name| name.strip_suffix('@'));
            if let Some(own) = own.map(str::to_owned) {
                *name = own;
            }
        }
        _ => {}
    }
}

/// What Portolan has and Traefik does not, or does not show, where it is as it is without being written.
fn is_usual(key: &str, value: &Value) -> bool {
    let usual = match key {
        "hashBy" => json!("address"),
        "panic" => json!("refuse"),
        "initial" => json!("up"),
        "pendingTimeout" => json!("5s"),
        "realm" => json!("traefik"),
        "rise" | "fall" => json!(1),
        "rejectStatusCode" => json!(403),
        "maxEjectedPercent" => json!(100),
        "minResponseBodyBytes" => json!(1024),
        "memRequestBodyBytes" | "memResponseBodyBytes" => json!(1_048_576),
        _ => return false,
    };
    *value == usual
}

fn clean(value: &mut Value, key: &str) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter_mut() {
                clean(field, key);
            }
            // An empty header is an order to take it away.
            let keeps_empty = key.starts_with("custom");
            fields.retain(|name, field| match field {
                _ if is_usual(name, field) => false,
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || !MAPS.contains(&name.as_str()),
                Value::String(text) => keeps_empty || !(text.is_empty() || text == "0s"),
                Value::Bool(set) => *set || SAID.contains(&name.as_str()),
                Value::Number(number) => number.as_f64() != Some(0.0) || SAID.contains(&name.as_str()),
            });
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
