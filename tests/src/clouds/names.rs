//! The name server of the namespace: it knows of no name. What there is stands in `/etc/hosts`.
//!
//! Without one, a question for the kind of address that `/etc/hosts` does not have would wait for its time to be up.

use anyhow::Context;
use tokio::net::UdpSocket;

pub(super) async fn listen() -> anyhow::Result<UdpSocket> {
    UdpSocket::bind(("127.0.0.1", 53)).await.context("failed to listen for questions for names")
}

/// Answers each question with no record (RFC 1035, section 4.1.1).
pub(super) async fn nothing(socket: UdpSocket) {
    let mut message = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut message).await {
        let Some(question) = message.get_mut(..length) else { continue };
        if let Some(flags) = question.get_mut(2..4) {
            // An answer, to what was asked, with recursion; no error.
            flags.copy_from_slice(&[0x81, 0x80]);
        }
        // No record of any kind beside the question, not even what the asker said of itself: what is behind is cut off.
        if let Some(counts) = question.get_mut(6..12) {
            counts.fill(0);
        }
        let end = end_of_question(question).unwrap_or(question.len());
        let _ = socket.send_to(question.get(..end).unwrap_or_default(), from).await;
    }
}

/// Behind the first question: labels by their lengths, a zero, type and class.
fn end_of_question(message: &[u8]) -> Option<usize> {
    let mut at = 12;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return Some(at + 5),
            length => at += length + 1,
        }
    }
}
