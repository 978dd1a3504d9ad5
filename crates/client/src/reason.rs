//! What a failed call says beside its code: the `google.rpc` details of its status.

use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorInfo, StatusExt as _};

fn info(status: &Status) -> Option<ErrorInfo> {
    status.get_details_error_info()
}

fn metadata(status: &Status, key: &str) -> Option<String> {
    info(status)?.metadata.remove(key)
}

/// The reason of the status's `ErrorInfo`, such as `NO_SUCH_POOL`.
pub fn reason(status: &Status) -> Option<String> {
    info(status).map(|info| info.reason)
}

/// How long to wait before a retry, where the status asks for it.
pub fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

/// `host:port` of the leader, where the node that answered knows it and does not forward to it.
pub fn leader_address(status: &Status) -> Option<String> {
    metadata(status, "leader_address").filter(|address| !address.is_empty())
}

/// The holder's current epoch, where the reason is `STALE_EPOCH`.
pub fn current_epoch(status: &Status) -> Option<u64> {
    metadata(status, "current_epoch")?.parse().ok()
}
