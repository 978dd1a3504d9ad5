//! The bodies of requests that are answered without them.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::EXPECT;
use http_body_util::BodyExt as _;
use tokio::time::timeout;

/// So much is read at the most, and for so long.
const MOST_BYTES: usize = 16 << 20;
const WITHIN: Duration = Duration::from_secs(10);

/// Reads what is still on its way, and keeps none of it. A connection that is closed while the other end sends is
/// reset, and the answer is lost with it: HAProxy, and browsers, then have nothing to show.
pub async fn drain(headers: &HeaderMap, mut body: Body) {
    // Whoever asks before sending has sent nothing, and is best told not to.
    if headers.contains_key(EXPECT) {
        return;
    }
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
            if bytes > MOST_BYTES {
                return;
            }
        }
    };
    // Whoever takes longer loses the answer, and not the gate its connection.
    let _ = timeout(WITHIN, read).await;
}
