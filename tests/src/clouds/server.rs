//! Connections, and who answers each request of them: by the name that it says, which has to be that of the certificate.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header::HOST};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    desk::{Desk, Paper},
    shared::{Host, Shared},
};
use crate::{
    native::{
        Request,
        exchange::{self, Answer, HangUp, made},
    },
    provider::line::{Line, ResetSwitch},
};

/// Accepts connections until it is aborted, and takes them all along.
pub(super) async fn run(listener: TcpListener, acceptor: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let reset = ResetSwitch::default();
                let line = Line::new(stream, reset.clone());
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                let address = address.clone();
                connections.spawn(async move {
                    match acceptor {
                        None => serve(line, reset, None, shared).await,
                        Some(_) if address.starts_with("169.254.") => {
                            shared.violated(format!("a connection to {address}"));
                        }
                        Some(acceptor) => match acceptor.accept(line).await {
                            Ok(stream) => {
                                let name = stream.get_ref().1.server_name().map(str::to_owned).unwrap_or_default();
                                serve(stream, reset, Some(name), shared).await;
                            }
                            Err(error) => shared.violated(format!("no TLS: {error}")),
                        },
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve<S>(stream: S, reset: ResetSwitch, name: Option<String>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(shared.clone(), reset.clone(), name.clone(), request));
    // Some connections end when the client does.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    shared: Arc<Shared>,
    reset: ResetSwitch,
    name: Option<String>,
    mut request: http::Request<Incoming>,
) -> Result<Answer, HangUp> {
    // HTTP/2 says the host in the URI.
    if let Some(Ok(host)) = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str())) {
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    if name.is_some_and(|name| name != host) {
        shared.violated(format!("the host is {host}, not that of the certificate"));
    }
    match shared.hosts.get_key_value(host.as_str()) {
        Some((_, Host::Provider(state))) => exchange::answer(state.clone(), reset, request).await,
        Some((host, Host::Issuer(desk))) => at_desk(&shared, host, &**desk, request).await,
        None => {
            shared.violated(format!("nobody is at {host}: {} {}", request.method(), request.uri()));
            Ok(made(404, "text/plain", "nobody is here".to_owned()))
        }
    }
}

async fn at_desk(
    shared: &Shared,
    host: &'static str,
    desk: &dyn Desk,
    request: http::Request<Incoming>,
) -> Result<Answer, HangUp> {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect().await.map_err(|_| HangUp)?.to_bytes();
    let request = Request::of(&parts, &body);
    let latency = {
        let mut inner = shared.inner();
        *inner.asked.entry(host).or_default() += 1;
        inner.latency
    };
    let answered = desk.answer(&request);
    tokio::time::sleep(latency).await;
    Ok(match answered {
        Ok(Paper { status, kind, body }) => made(status, kind, body),
        Err(what) => {
            shared.violated(format!("{host}: {what}"));
            made(400, "text/plain", what)
        }
    })
}
