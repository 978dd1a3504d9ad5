//! What is served, by path.

pub mod api;
mod own;
mod ways;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::map_request;

use crate::app::App;
use crate::stream::whole;

/// In which a request's body has to be there, so that nobody holds one open by a byte now and then.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Everything below `/preau`.
pub fn router(app: &Arc<App>, body_bytes: usize) -> Router {
    let router = Router::new()
        .merge(ways::router())
        .merge(own::router())
        .merge(api::router());
    router
        .layer(DefaultBodyLimit::max(body_bytes))
        .layer(map_request(async |request: Request| {
            request.map(|body| whole(body, BODY_WITHIN))
        }))
        .with_state(Arc::clone(app))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::extract::connect_info::ConnectInfo;
    use std::net::SocketAddr;
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use crate::config::Config;
    use crate::gate;
    use crate::stream::slow::Slow;

    /// The status of the answer to a body that goes on and on, and after how many seconds it is there.
    async fn endless(path: &str, peer: &str) -> (u16, u64) {
        let app = gate::app(&Config::new("ent", "normandie", Vec::new())).unwrap();
        let peer: SocketAddr = peer.parse().unwrap();
        let request = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-original-uri", "/page")
            .extension(ConnectInfo(peer));
        let request = request.body(Slow::body(usize::MAX, Duration::from_secs(1)));
        let began = Instant::now();
        let router: Router = router(&app, 4 << 10);
        let answer = router.oneshot(request.unwrap()).await.unwrap();
        (answer.status().as_u16(), began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_is_waited_for_so_long_and_a_strangers_not_at_all_where_it_says_nothing() {
        assert_eq!(endless("/preau/again", "192.0.2.7:4711").await, (400, 10));
        assert_eq!(endless("/preau/wait", "127.0.0.1:4711").await, (429, 10));
        assert_eq!(endless("/preau/wait", "192.0.2.7:4711").await, (400, 0));
    }

    #[tokio::test]
    async fn a_request_without_a_body_is_answered() {
        let app = gate::app(&Config::new("ent", "normandie", Vec::new())).unwrap();
        let request = Request::post("/preau/leave").body(Body::empty()).unwrap();
        let answer = router(&app, 4 << 10).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 303);
    }
}
