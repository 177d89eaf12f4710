//! The floor: a proxy of hyper and nothing else, which passes calls on and answers back. What the sidecar costs beyond it is its own work.
//!
//! One thread, HTTP/1.1 on both sides, a pool of connections; a process of its own ([`Subprocess`]), so that its CPU time is told apart.

use std::{cell::RefCell, convert::Infallible, net::SocketAddr, rc::Rc};

use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1::{SendRequest, handshake},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::LocalSet};

use super::{
    listening::{free_address, until_listening},
    subprocess::Subprocess,
};
use crate::pair::process::Process;

/// A running relay.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    address: SocketAddr,
}

impl Relay {
    /// Starts one on one core in front of `upstream`.
    pub fn start(upstream: SocketAddr, core: usize) -> anyhow::Result<Self> {
        let address = free_address()?;
        let mut process = Subprocess::Relay { listen: address, upstream }.spawn(core)?;
        until_listening(&mut process, address)?;
        Ok(Self { process, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Connections to the provider that wait for a call.
type Idle = Rc<RefCell<Vec<SendRequest<Incoming>>>>;

/// What the process does: relays from one address to the other, until it is killed.
pub fn run(listen: SocketAddr, upstream: SocketAddr) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        let idle = Idle::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let idle = idle.clone();
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| answer(request, upstream, idle.clone()));
                // A client that leaves ends its connection; nothing is lost by it.
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })
}

/// An answer as it comes, or none.
type Answer = Response<Either<Incoming, Empty<Bytes>>>;

async fn answer(request: Request<Incoming>, upstream: SocketAddr, idle: Idle) -> Result<Answer, Infallible> {
    Ok(forward(request, upstream, idle).await.map_or_else(
        |_| {
            let mut failed = Response::new(Either::Right(Empty::new()));
            *failed.status_mut() = StatusCode::BAD_GATEWAY;
            failed
        },
        |answer| answer.map(Either::Left),
    ))
}

async fn forward(request: Request<Incoming>, upstream: SocketAddr, idle: Idle) -> anyhow::Result<Response<Incoming>> {
    let waiting = idle.borrow_mut().pop();
    let mut sender = if let Some(sender) = waiting {
        sender
    } else {
        let stream = TcpStream::connect(upstream).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::task::spawn_local(connection);
        sender
    };
    let answer = sender.send_request(request).await?;
    tokio::task::spawn_local(async move {
        // Ready when the answer was read to its end.
        if sender.ready().await.is_ok() {
            idle.borrow_mut().push(sender);
        }
    });
    Ok(answer)
}
