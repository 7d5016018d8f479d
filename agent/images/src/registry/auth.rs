//! What registries demand of their clients: the challenge in an answer of 401,
//! and the token that a realm gives for it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::Credentials;

/// The most that an answer with a token may hold, in bytes.
const TOKEN_MAX: usize = 256 << 10;

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Why there is no authorisation.
#[derive(Debug)]
pub(super) enum AuthError {
    /// The registry's fault or the network's.
    Request(reqwest::Error),
    /// A definite no.
    Denied(String),
    /// The realm answered with another failure: status and text.
    Answer(u16, String),
}

/// The challenge of an answer that can be met best.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let mut basic = None;
    for value in headers.get_all(WWW_AUTHENTICATE) {
        for challenge in parse(value.to_str().unwrap_or_default()) {
            match challenge {
                Challenge::Bearer { .. } => return Some(challenge),
                Challenge::Basic => basic = Some(challenge),
            }
        }
    }
    basic
}

/// Reads `Scheme key="value", key=value, Scheme …`.
pub(super) fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some(value) = after.strip_prefix('=') {
            let (value, after) = read_value(value);
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
            rest = after;
        } else {
            if !word.is_empty() {
                found.push((word.to_ascii_lowercase(), Vec::new()));
            }
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    found
        .into_iter()
        .filter_map(|(scheme, parameters)| {
            let get = |name: &str| {
                parameters
                    .iter()
                    .find(|(key, _)| key == name)
                    .map(|(_, value)| value.clone())
            };
            match scheme.as_str() {
                "basic" => Some(Challenge::Basic),
                "bearer" => Some(Challenge::Bearer {
                    realm: get("realm")?,
                    service: get("service"),
                    scope: get("scope"),
                }),
                _ => None,
            }
        })
        .collect()
}

/// A quoted or bare value, and what follows it.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

/// The header that meets a challenge; `tls` says whether the registry itself is
/// spoken to over TLS.
pub(super) async fn authorise(
    client: &reqwest::Client,
    challenge: &Challenge,
    credentials: Option<&Credentials>,
    repository: &str,
    tls: bool,
) -> Result<HeaderValue, AuthError> {
    let (realm, service, scope) = match (challenge, credentials) {
        (_, Some(Credentials::Bearer(token))) => return header(format!("Bearer {token}")),
        (Challenge::Basic, Some(Credentials::Password { username, password })) => {
            return header(basic(username, password));
        }
        (Challenge::Basic, _) => {
            return Err(AuthError::Denied(
                "it wants a name and a password".to_owned(),
            ));
        }
        (
            Challenge::Bearer {
                realm,
                service,
                scope,
            },
            _,
        ) => (realm, service, scope),
    };
    let mut url = Url::parse(realm)
        .map_err(|_| AuthError::Denied(format!("its token service {realm:?} is no URL")))?;
    if tls && url.scheme() != "https" && credentials.is_some() {
        return Err(AuthError::Denied(format!(
            "its token service {realm} would take the credentials without encryption"
        )));
    }
    let scope = scope
        .clone()
        .unwrap_or_else(|| format!("repository:{repository}:pull"));
    let request = if let Some(Credentials::IdentityToken(token)) = credentials {
        let mut form = Url::parse("form:").map_err(|_| AuthError::Denied(String::new()))?;
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "skep")
            .append_pair("service", service.as_deref().unwrap_or_default())
            .append_pair("scope", &scope)
            .append_pair("refresh_token", token);
        client
            .post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
    } else {
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope);
            if let Some(Credentials::Password { username, .. }) = credentials {
                query.append_pair("account", username);
            }
        }
        let request = client.get(url);
        match credentials {
            Some(Credentials::Password { username, password }) => {
                request.header(AUTHORIZATION, header(basic(username, password))?)
            }
            _ => request,
        }
    };
    let mut answer = request.send().await.map_err(AuthError::Request)?;
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(AuthError::Request)? {
        body.extend_from_slice(&chunk);
        if body.len() > TOKEN_MAX {
            return Err(AuthError::Answer(
                status,
                "token service sent too much".to_owned(),
            ));
        }
    }
    match status {
        200 => {}
        401 | 403 => return Err(AuthError::Denied("wrong or missing credentials".to_owned())),
        _ => return Err(AuthError::Answer(status, "token service failed".to_owned())),
    }
    match read_token(&body) {
        Some(token) => header(format!("Bearer {token}")),
        None => Err(AuthError::Answer(
            status,
            "token service sent no token".to_owned(),
        )),
    }
}

/// The token in the answer of a token service.
pub(super) fn read_token(body: &[u8]) -> Option<String> {
    let token: Token = serde_json::from_slice(body).ok()?;
    let token = token.token.or(token.access_token);
    token.filter(|token| !token.is_empty())
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn basic(username: &str, password: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{username}:{password}"))
    )
}

fn header(value: String) -> Result<HeaderValue, AuthError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| {
        AuthError::Denied("the token holds characters that HTTP forbids".to_owned())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_in_all_their_spellings() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        assert_eq!(
            parse(
                r#"Bearer realm="https://a/token",service="s, t",scope="repository:x:pull,push""#
            ),
            [bearer(
                "https://a/token",
                Some("s, t"),
                Some("repository:x:pull,push")
            )]
        );
        assert_eq!(
            parse(r#"Basic realm="x", bearer realm=https://b/t"#),
            [Challenge::Basic, bearer("https://b/t", None, None)]
        );
        assert_eq!(parse(r#"Bearer realm="a\"b"#), [bearer("a\"b", None, None)]);
        assert_eq!(parse("Bearer"), []);
        assert_eq!(parse("Negotiate, Basic"), [Challenge::Basic]);
        assert_eq!(parse("=,= ,"), []);
    }
}
