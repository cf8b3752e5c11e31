//! Which part of a list is asked for, and in which order: `sortBy`, `direction`, `search`, `status`, `serviceName`, `middlewareName`, `page` and `per_page`.

use serde_json::Value;

/// Items on a page unless the query says otherwise, as Traefik has it.
const PER_PAGE: usize = 100;

/// What a query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query {
    search: String,
    status: String,
    service: String,
    middleware: String,
    page: usize,
    per_page: usize,
    /// What is gone by; the name unless written.
    sort_by: String,
    descending: bool,
}

impl Query {
    /// Reads a query; what it does not know is passed over. Errors say which number makes no sense.
    pub fn read(query: &str) -> Result<Self, String> {
        let mut read = Self { page: 1, per_page: PER_PAGE, ..Self::default() };
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = super::super::resolve::decode(&value.replace('+', " "));
            match key {
                "search" => read.search = value.to_lowercase(),
                "status" => read.status = value.to_lowercase(),
                "sortBy" => read.sort_by = value,
                "direction" => read.descending = value == "desc",
                "serviceName" => read.service = value,
                "middlewareName" => read.middleware = value,
                "page" if !value.is_empty() => read.page = number(key, &value)?,
                "per_page" if !value.is_empty() => read.per_page = number(key, &value)?,
                _ => {}
            }
        }
        Ok(read)
    }

    /// The items of the page, and the number of the next page; 1 after the last. There is always a first page.
    pub fn page(&self, mut items: Vec<Value>) -> Result<(Vec<Value>, usize), String> {
        items.retain(|item| self.takes(item));
        items.sort_by(|a, b| {
            let by_name = || a["name"].as_str().cmp(&b["name"].as_str());
            let order = self.key(a).cmp(&self.key(b)).then_with(by_name);
            if self.descending { order.reverse() } else { order }
        });
        let start = (self.page - 1).saturating_mul(self.per_page);
        if start > 0 && start >= items.len() {
            return Err(format!("invalid request: page: {}, per_page: {}", self.page, self.per_page));
        }
        let next = if items.len() - start > self.per_page { self.page + 1 } else { 1 };
        Ok((items.into_iter().skip(start).take(self.per_page).collect(), next))
    }

    /// What an item is sorted by: a number, then a text. What is no such column is no order.
    fn key(&self, item: &Value) -> (i64, String) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match self.sort_by.as_str() {
            "priority" => (item["priority"].as_i64().unwrap_or_default(), String::new()),
            "servers" => {
                let servers = item["loadBalancer"]["servers"].as_array().map_or(0, Vec::len);
                (i64::try_from(servers).unwrap_or(i64::MAX), String::new())
            }
            "entryPoints" => {
                let names = item["entryPoints"].as_array().into_iter().flatten();
                (0, names.filter_map(Value::as_str).collect())
            }
            column @ ("provider" | "status" | "rule" | "service" | "type") => (0, text(&item[column])),
            _ => (0, String::new()),
        }
    }

    fn takes(&self, item: &Value) -> bool {
        let text = |key: &str| item[key].as_str().unwrap_or_default();
        let has = |key: &str| text(key).to_lowercase().contains(&self.search);
        (self.search.is_empty() || has("name") || has("rule"))
            && (self.status.is_empty() || self.status == text("status"))
            && (self.service.is_empty() || {
                let (service, provider) = (text("service"), text("provider"));
                service == self.service || format!("{service}@{provider}") == self.service
            })
            && (self.middleware.is_empty()
                || item["middlewares"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|one| one.as_str() == Some(&self.middleware))))
    }
}

/// A number from 1 on. What is no number is told as 0, as Traefik does.
fn number(key: &str, value: &str) -> Result<usize, String> {
    let number = value.parse::<i64>().unwrap_or(0);
    usize::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid request: {key}: {number}"))
}
