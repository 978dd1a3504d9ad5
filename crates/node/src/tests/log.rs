//! openraft's own tests of a log and a state machine.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use store::{Options, Store};
use tempfile::TempDir;

use crate::log::Log;
use crate::machine::Machine;
use crate::types::{Disk, TypeConfig};

struct Builder;

/// Keeps the directory, and closes the store before it goes.
struct Guard(Store, #[allow(dead_code)] TempDir);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl StoreBuilder<TypeConfig, Log, Machine, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, Log, Machine), StorageError<TypeConfig>> {
        let dir = TempDir::new().unwrap();
        let store = Store::open(dir.path(), 1, Options::default()).unwrap();
        let disk: Disk = Arc::new(store.clone());
        let (log, machine) = (Log::new(disk.clone()), Machine::new(disk));
        Ok((Guard(store, dir), log, machine))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_openrafts_suite() {
    Suite::test_all(Builder).await.unwrap();
}
