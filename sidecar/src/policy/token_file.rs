//! The file with the token that proves the pod's namespace to the gateway. The kubelet renews it minutes before its end.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderValue;

/// A file that was read so lately is not read again: that takes a thread, and calls come by the thousand.
const FRESH: Duration = Duration::from_secs(1);

/// The file. A handle: clones share what was read.
#[derive(Clone, Debug)]
pub struct TokenFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    last: Mutex<Option<(Instant, HeaderValue)>>,
}

impl TokenFile {
    /// One that was not read yet.
    pub fn new(path: PathBuf) -> Self {
        Self(Arc::new(Inner { path, last: Mutex::default() }))
    }

    /// The token that is there now, as a header's value. None: there is none.
    pub async fn read(&self) -> Option<HeaderValue> {
        let Inner { path, last } = &*self.0;
        let fresh = |last: &Option<(Instant, HeaderValue)>| {
            last.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, token)| token.clone())
        };
        if let Some(token) = fresh(&last.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Some(token);
        }
        let at = Instant::now();
        let read = tokio::fs::read_to_string(path).await;
        let mut token = HeaderValue::try_from(read.ok()?.trim()).ok().filter(|token| !token.is_empty())?;
        token.set_sensitive(true);
        *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, token.clone()));
        Some(token)
    }

    /// Has the next call read it anew, unless that was done since: the gateway has refused this one.
    pub fn forget(&self, refused: &HeaderValue) {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).take_if(|(_, token)| *token == *refused);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_renewed_token_counts_within_a_second_and_an_empty_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let file = TokenFile::new(path.clone());
        assert_eq!(file.read().await, None);
        std::fs::write(&path, " \n").unwrap();
        assert_eq!(file.read().await, None);
        std::fs::write(&path, "one\n").unwrap();
        let token = file.read().await.unwrap();
        assert!(token == "one" && token.is_sensitive());
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.clone().read().await.unwrap(), "one", "it was read just now");
        tokio::time::sleep(FRESH).await;
        assert_eq!(file.read().await.unwrap(), "two");
        std::fs::write(&path, "three").unwrap();
        file.forget(&HeaderValue::from_static("one"));
        assert_eq!(file.read().await.unwrap(), "two", "another one was refused");
        file.forget(&HeaderValue::from_static("two"));
        assert_eq!(file.read().await.unwrap(), "three");
    }
}
