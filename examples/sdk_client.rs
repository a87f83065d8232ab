//! The Rust SDK as a service: one client for life, as a program has it, and one line of JSON for each use of its
//! credentials: `{"key": …}` with the access key id that the request was signed with, else `{"error": …}`.
//!
//! ```console
//! $ devsup exec a -- target/debug/examples/sdk_client
//! ```

use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_sts::error::DisplayErrorContext;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::RetryConfig;

/// Remembers whose signature the last request bore.
#[derive(Clone, Debug, Default)]
struct Signed(Arc<Mutex<Option<String>>>);

impl Signed {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "whose signature it is"
    }

    fn read_after_signing(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let header = context.request().headers().get("authorization").unwrap_or_default();
        let key = header.split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = key.map(str::to_owned);
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let https = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::from_env().http_client(https).retry_config(RetryConfig::disabled()).load().await;
    let signed = Signed::default();
    let sts =
        aws_sdk_sts::Client::from_conf(aws_sdk_sts::config::Builder::from(&config).interceptor(signed.clone()).build());
    loop {
        let answer = sts.get_caller_identity().send().await;
        // Signed is used: whether STS answers is another matter.
        let said = match (signed.take(), answer) {
            (Some(key), Ok(who)) => serde_json::json!({ "key": key, "arn": who.arn }),
            (Some(key), Err(_)) => serde_json::json!({ "key": key }),
            (None, Err(error)) => serde_json::json!({ "error": DisplayErrorContext(&error).to_string() }),
            (None, Ok(_)) => serde_json::json!({ "error": "it was not signed at all" }),
        };
        writeln!(io::stdout(), "{said}")?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
