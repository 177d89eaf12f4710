//! Processes of the benchmark's own: it starts itself again for them, so that what they take is told apart from what is measured.
//!
//! The arguments are a word and addresses: [`Subprocess::arguments`] writes them, [`Subprocess::parse`] reads them.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, bail};

use crate::pair::process::Process;

/// What a process is started for. Each runs until it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subprocess {
    /// Passes calls on.
    Relay {
        /// Where it listens.
        listen: SocketAddr,
        /// Who it asks.
        upstream: SocketAddr,
    },
    /// Answers large calls.
    LargeProvider {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Sends bodies of nearly 16 MiB, one after the other.
    LargeBodies {
        /// To whom.
        to: SocketAddr,
    },
    /// Asks for large answers that have to be translated, one after the other.
    LargeAnswers {
        /// To whom.
        to: SocketAddr,
    },
}

impl Subprocess {
    /// What the command line says.
    pub fn arguments(self) -> Vec<String> {
        let (word, addresses) = match self {
            Self::Relay { listen, upstream } => ("relay", vec![listen, upstream]),
            Self::LargeProvider { listen } => ("large-provider", vec![listen]),
            Self::LargeBodies { to } => ("large-bodies", vec![to]),
            Self::LargeAnswers { to } => ("large-answers", vec![to]),
        };
        let addresses = addresses.iter().map(ToString::to_string);
        std::iter::once(word.to_owned()).chain(addresses).collect()
    }

    /// From a command line.
    pub fn parse(arguments: &[String]) -> anyhow::Result<Self> {
        let (word, addresses) = arguments.split_first().context("no subprocess is named")?;
        let addresses: Vec<SocketAddr> =
            addresses.iter().map(|address| address.parse()).collect::<Result<_, _>>().context("not an address")?;
        Ok(match (word.as_str(), addresses.as_slice()) {
            ("relay", &[listen, upstream]) => Self::Relay { listen, upstream },
            ("large-provider", &[listen]) => Self::LargeProvider { listen },
            ("large-bodies", &[to]) => Self::LargeBodies { to },
            ("large-answers", &[to]) => Self::LargeAnswers { to },
            _ => bail!("there is no subprocess {arguments:?}"),
        })
    }

    /// Starts it on one core. What only makes load yields to what is measured.
    pub fn spawn(self, core: usize) -> anyhow::Result<Process> {
        let program = std::env::current_exe().context("failed to find this program")?;
        let (name, mut command) = match self {
            Self::Relay { .. } => ("relay", Command::new(program)),
            Self::LargeProvider { .. } | Self::LargeBodies { .. } | Self::LargeAnswers { .. } => {
                let mut nice = Command::new("nice");
                nice.args(["-n", "19"]).arg(program);
                ("large calls", nice)
            }
        };
        command.arg("--subprocess").args(self.arguments());
        Process::spawn(name, command, Some(core))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let (one, two) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        for subprocess in [
            Subprocess::Relay { listen: one, upstream: two },
            Subprocess::LargeProvider { listen: one },
            Subprocess::LargeBodies { to: one },
            Subprocess::LargeAnswers { to: two },
        ] {
            assert_eq!(Subprocess::parse(&subprocess.arguments()).unwrap(), subprocess);
        }
        for wrong in [&["relay", "127.0.0.1:1"][..], &["rely"], &[]] {
            let wrong: Vec<String> = wrong.iter().map(|word| (*word).to_owned()).collect();
            assert!(Subprocess::parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
