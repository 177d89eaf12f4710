//! Proxies that cannot tell which port they got: they are given a free one, and waited for.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::pair::process::Process;

/// An address that was free a moment ago.
pub(super) fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    listener.local_addr().context("failed to find a free port")
}

/// In a build for tests, beside other tests, answers of a hundred megabytes take their time to be made.
const START: Duration = Duration::from_mins(5);

/// Waits until a process listens; an error has the end of its log.
pub(super) fn until_listening(process: &mut Process, address: SocketAddr) -> anyhow::Result<()> {
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        process.must_run().with_context(|| process.log().end())?;
        ensure!(begun.elapsed() < START, "nothing listens at {address}: {}", process.log().end());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
