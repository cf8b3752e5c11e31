//! Middlewares that ask who the client is.

use serde::{Deserialize, Serialize};

use crate::dynamic::value::Pattern;

/// `basicAuth`: name and password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BasicAuth {
    /// `name:hash`, as htpasswd writes it.
    pub users: Vec<String>,
    /// A file of the same, a line each.
    pub users_file: String,
    /// What the client is told it is for.
    pub realm: String,
    /// Whether the server does not see what the client showed.
    pub remove_header: bool,
    /// The field in which the server is told the name.
    pub header_field: String,
}

impl Default for BasicAuth {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            users_file: String::new(),
            realm: "traefik".to_owned(),
            remove_header: false,
            header_field: String::new(),
        }
    }
}

impl BasicAuth {
    pub(super) fn check(&self) -> Result<(), String> {
        some_users(&self.users, &self.users_file)?;
        match self.users.iter().find(|user| !user.contains(':')) {
            Some(user) => Err(format!("`users`: `{user}` is not `name:hash`, as htpasswd writes it")),
            None => Ok(()),
        }
    }
}

/// `digestAuth`: name and password by a challenge (RFC 7616).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DigestAuth {
    /// `name:realm:hash`, as htdigest writes it.
    pub users: Vec<String>,
    /// A file of the same, a line each.
    pub users_file: String,
    /// Whether the server does not see what the client showed.
    pub remove_header: bool,
    /// What the client is told it is for.
    pub realm: String,
    /// The field in which the server is told the name.
    pub header_field: String,
}

impl Default for DigestAuth {
    fn default() -> Self {
        Self {
            users: Vec::new(),
            users_file: String::new(),
            remove_header: false,
            realm: "traefik".to_owned(),
            header_field: String::new(),
        }
    }
}

impl DigestAuth {
    pub(super) fn check(&self) -> Result<(), String> {
        some_users(&self.users, &self.users_file)?;
        match self.users.iter().find(|user| user.split(':').count() != 3) {
            Some(user) => Err(format!("`users`: `{user}` is not `name:realm:hash`, as htdigest writes it")),
            None => Ok(()),
        }
    }
}

fn some_users(users: &[String], file: &str) -> Result<(), String> {
    if users.is_empty() && file.is_empty() {
        return Err("needs `users` or `usersFile`: nobody could get in".to_owned());
    }
    Ok(())
}

/// `forwardAuth`: somebody else says whether to let it through.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ForwardAuth {
    /// The URL that is asked.
    pub address: String,
    /// TLS to there.
    pub tls: Option<AuthTls>,
    /// Whether what the client says of `X-Forwarded-*` is passed on.
    pub trust_forward_header: bool,
    /// Fields of its answer that the server is sent.
    pub auth_response_headers: Vec<String>,
    /// The same, by a pattern.
    pub auth_response_headers_regex: Option<Pattern>,
    /// Fields of the request that it is sent; all of them unless written.
    pub auth_request_headers: Vec<String>,
    /// Bytes of its answer's body, at most; any number unless written.
    pub max_response_body_size: Option<i64>,
    /// Cookies of its answer that the client gets with the server's.
    pub add_auth_cookies_to_response: Vec<String>,
    /// The field that names the user, for the access log.
    pub header_field: String,
    /// Whether it is sent the body.
    pub forward_body: bool,
    /// Bytes of that body, at most; below zero any number.
    pub max_body_size: i64,
    /// Whether the `Location` of its answer stays as it is.
    pub preserve_location_header: bool,
    /// Whether it is asked by the request's own method.
    pub preserve_request_method: bool,
    /// Where clients that it does not let through are sent.
    #[serde(rename = "authSigninURL")]
    pub auth_signin_url: String,
}

impl Default for ForwardAuth {
    fn default() -> Self {
        Self {
            address: String::new(),
            tls: None,
            trust_forward_header: false,
            auth_response_headers: Vec::new(),
            auth_response_headers_regex: None,
            auth_request_headers: Vec::new(),
            max_response_body_size: None,
            add_auth_cookies_to_response: Vec::new(),
            header_field: String::new(),
            forward_body: false,
            max_body_size: -1,
            preserve_location_header: false,
            preserve_request_method: false,
            auth_signin_url: String::new(),
        }
    }
}

impl ForwardAuth {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.address.is_empty() {
            return Err("needs `address`".to_owned());
        }
        if !self.address.starts_with("http://") && !self.address.starts_with("https://") {
            return Err(format!("`address`: `{}` is not a URL: write `http://…`", self.address));
        }
        Ok(())
    }
}

/// `tls` of `forwardAuth`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthTls {
    /// Who must have signed its certificate: PEM, or a file.
    pub ca: String,
    /// Shown to it: PEM, or a file.
    pub cert: String,
    /// The key to that: PEM, or a file.
    pub key: String,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// Passed over, as Traefik does since 3.0.
    pub ca_optional: bool,
}

/// `passTLSClientCert`: the client's certificate, in fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PassTlsClientCert {
    /// The whole of it.
    pub pem: bool,
    /// Parts of it.
    pub info: Option<ClientCertificateInfo>,
}

/// Which parts of the client's certificate are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCertificateInfo {
    /// The end of its time.
    pub not_after: bool,
    /// The beginning.
    pub not_before: bool,
    /// Its other names.
    pub sans: bool,
    /// Its number.
    pub serial_number: bool,
    /// Whose it is.
    pub subject: Option<NameInfo>,
    /// Who signed it.
    pub issuer: Option<NameInfo>,
}

/// Which parts of a distinguished name are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameInfo {
    /// `C`
    pub country: bool,
    /// `ST`
    pub province: bool,
    /// `L`
    pub locality: bool,
    /// `O`
    pub organization: bool,
    /// `OU`; of subjects only.
    pub organizational_unit: bool,
    /// `CN`
    pub common_name: bool,
    /// `SN`
    pub serial_number: bool,
    /// `DC`
    pub domain_component: bool,
}
