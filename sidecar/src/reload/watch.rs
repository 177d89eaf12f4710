//! When to look at the config folder again: at once when the kernel tells of a change, and every few seconds in case it
//! does not (some file systems have no inotify; a folder that is replaced loses its watch).

use std::{os::unix::fs::MetadataExt, path::Path, time::Duration};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

/// How often the folder is read without being told to.
const POLL: Duration = Duration::from_secs(2);
/// Changes come in flocks: one swap is several events, of which the folder is read once.
const DEBOUNCE: Duration = Duration::from_millis(10);

/// What keeps the policy in step with a folder.
pub trait Reload: Send {
    /// Whether what lies deeper matters as well.
    const MODE: RecursiveMode;

    /// The folder.
    fn folder(&self) -> &Path;

    /// Looks at it, and applies what is new.
    fn reload(&mut self) -> impl Future<Output = ()> + Send;
}

/// Reloads on change, for ever.
pub async fn watch<R: Reload>(mut reloader: R) {
    let (notify, mut changes) = mpsc::channel(1);
    let folder = reloader.folder().to_owned();
    let mut seen = identity(&folder);
    let mut watcher = start(&folder, R::MODE, &notify);
    loop {
        if tokio::time::timeout(POLL, changes.recv()).await.is_ok() {
            tokio::time::sleep(DEBOUNCE).await;
            while changes.try_recv().is_ok() {}
        }
        reloader.reload().await;
        // A watch belongs to a folder, not to its name: another one under the same name needs another watch.
        let present = identity(&folder);
        if watcher.is_none() || present != seen {
            watcher = start(&folder, R::MODE, &notify);
            seen = present;
        }
    }
}

/// Device and inode of the folder that has this name now.
fn identity(folder: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(folder).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn start(folder: &Path, mode: RecursiveMode, notify: &mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let notify = notify.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading the folder is an event as well: answering it would never end.
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full channel holds the same news already.
            let _ = notify.try_send(());
        }
    };
    let mut watcher = notify::recommended_watcher(on_event).ok()?;
    watcher.watch(folder, mode).ok()?;
    Some(watcher)
}
