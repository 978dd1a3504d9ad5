//! Work that reads, writes or computes for longer than an async thread should.

use std::io;

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does the work on a thread of its own. On a runtime of one thread it is done in place: whoever chose that
/// wants one thing after another, as a simulation does.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other)?
}
