//! The HTTPS client of everything devsup itself asks AWS: rustls with ring, the owner's proxy, no default client.

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

use super::chain::Variables;

/// The proxy for https. Plain http is only ever this machine, instance metadata or an endpoint override: a proxy there
/// would be handed credentials in the clear, so it gets none.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxy {
    url: Option<String>,
    no_proxy: Option<String>,
}

impl Proxy {
    pub(super) fn of(env: &Variables) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| env.get(name)).map(str::to_owned);
        Self {
            url: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: first(&["NO_PROXY", "no_proxy"]),
        }
    }

    /// For people: host and port, never the password that may stand before them.
    pub(super) fn shown(&self) -> Option<String> {
        self.url.as_deref().map(without_password)
    }

    fn config(&self) -> ProxyConfig {
        let Some(url) = &self.url else { return ProxyConfig::disabled() };
        let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
        match ProxyConfig::https(url) {
            Ok(config) => config.no_proxy(self.no_proxy.clone().unwrap_or_default()),
            Err(_) => ProxyConfig::disabled(),
        }
    }
}

/// A URL as it may be shown.
pub(super) fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default().trim_end_matches('/');
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

/// Reads the trust stores when it is first used, not when it is made.
pub(super) fn client(proxy: Proxy) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut builder = Connector::builder().proxy_config(proxy.config());
        if let Some(settings) = settings {
            builder = builder.connector_settings(settings.clone());
        }
        builder.set_sleep_impl(components.and_then(|all| all.sleep_impl()));
        builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
    })
}

/// For one request of our own, outside the SDK.
pub(super) fn connector(proxy: &Proxy) -> Connector {
    Connector::builder().proxy_config(proxy.config()).tls_provider(Provider::Rustls(CryptoMode::Ring)).build()
}

/// For the sandbox on loopback: no TLS, so no trust stores.
pub(super) fn plain_client() -> SharedHttpClient {
    Builder::new().build_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_password_is_not_shown() {
        assert_eq!(without_password("http://ann:geheim@proxy.corp:3128/"), "http://proxy.corp:3128");
        assert_eq!(without_password("proxy:3128"), "proxy:3128");
        assert_eq!(without_password("https://sts.example/x?token=1"), "https://sts.example/x");
    }

    #[test]
    fn the_proxy_is_the_one_for_https() {
        let env =
            Variables::of(&[("HTTP_PROXY", "http://a:1"), ("all_proxy", "http://b:2"), ("https_proxy", "http://c:3")]);
        assert_eq!(Proxy::of(&env).shown().as_deref(), Some("http://c:3"));
        assert_eq!(Proxy::of(&Variables::of(&[("HTTP_PROXY", "http://a:1")])).shown(), None);
    }
}
