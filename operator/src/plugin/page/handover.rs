//! Hands the token to one browser, once: it stands in no command line and in no terminal, where others could read it.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::{Router, extract::Path, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use tokio::{net::TcpListener, task::JoinHandle};

/// Bytes of the code that an address has: more than anybody tries in the time.
const CODE_BYTES: usize = 16;

/// Listens on this machine until it is dropped.
pub(super) struct Handover {
    /// Whoever opens it first is led to the page, and signed in.
    pub(super) url: String,
    task: JoinHandle<()>,
}

impl Handover {
    /// `page`: where the token is for.
    pub(super) async fn start(page: String, token: String) -> anyhow::Result<Self> {
        let mut bytes = [0; CODE_BYTES];
        getrandom::fill(&mut bytes).context("failed to get random bytes")?;
        let code = hex::encode(bytes);
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen on 127.0.0.1")?;
        let url = format!("http://{}/{code}", listener.local_addr()?);
        let held = Arc::new(Mutex::new(Some(token)));
        let answer = move |Path(asked): Path<String>| async move {
            let headers = [(header::CACHE_CONTROL, "no-store"), (header::REFERRER_POLICY, "no-referrer")];
            if asked != code {
                return (StatusCode::NOT_FOUND, headers, "not here\n").into_response();
            }
            let token = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(token) = token else {
                let message = "This address was opened before. If that was not you, end the command; to open the page again, run it again.\n";
                return (StatusCode::GONE, headers, message).into_response();
            };
            // What stands behind the # is kept by the browser, and sent to nobody.
            (StatusCode::SEE_OTHER, headers, [(header::LOCATION, format!("{page}#token={token}"))]).into_response()
        };
        let router = Router::new().route("/{code}", get(answer));
        let task = tokio::spawn(async move {
            // It does not end by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { url, task })
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn the_token_is_handed_over_once_and_to_whoever_knows_the_address() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let handover = Handover::start("http://127.0.0.1:1/page/".to_owned(), "abc.def-g_h".to_owned()).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let ask = async |url: &str| client.get(url).send().await.unwrap();
        let (base, _) = handover.url.rsplit_once('/').unwrap();
        assert_eq!(ask(&format!("{base}/0123")).await.status().as_u16(), 404, "a guess takes nothing away");
        let first = ask(&handover.url).await;
        assert_eq!(first.status().as_u16(), 303);
        assert_eq!(first.headers()["location"], "http://127.0.0.1:1/page/#token=abc.def-g_h");
        assert_eq!(first.headers()["cache-control"], "no-store");
        assert_eq!(ask(&handover.url).await.status().as_u16(), 410);
    }
}
