//! Envoy's external authorization, over gRPC.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response as HttpResponse;
use tonic::{Request, Response, Status};

use crate::app::App;
use crate::desk::Showing;
use crate::metrics::Way;
use crate::visitor::Wanted;

/// What of Envoy's protocol is used.
pub mod v3 {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used)]
    tonic::include_proto!("envoy.service.auth.v3");
}

use v3::authorization_server::{Authorization, AuthorizationServer};
use v3::check_response::HttpResponse as Verdict;

/// Longest page that is given to Envoy, in bytes: none is longer.
const MAX_PAGE_BYTES: usize = 64 << 10;
/// google.rpc.Code: OK and PERMISSION_DENIED.
const OK: i32 = 0;
const DENIED: i32 = 7;

/// The service.
pub fn service(app: Arc<App>) -> AuthorizationServer<Checks> {
    AuthorizationServer::new(Checks { app })
}

/// Answers whether requests may go through.
#[derive(Debug)]
pub struct Checks {
    app: Arc<App>,
}

#[tonic::async_trait]
impl Authorization for Checks {
    async fn check(
        &self,
        request: Request<v3::CheckRequest>,
    ) -> Result<Response<v3::CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let http = attributes.request.and_then(|request| request.http);
        let http = http.ok_or_else(|| {
            Status::invalid_argument(
                "attributes.request.http: nothing given, expected the request's",
            )
        })?;
        let headers = headers(&http);
        let method = http.method.parse().unwrap_or(Method::GET);
        let wanted = Wanted::new(&method, &http.path, &headers);
        let source = attributes.source.and_then(|source| source.address);
        let source = source.and_then(|address| address.socket_address);
        let peer: Option<IpAddr> = source.and_then(|socket| socket.address.parse().ok());
        // Envoy's own peer: with a proxy before Envoy, that proxy.
        let visitor = self
            .app
            .reader
            .visitor(peer.map(|ip| (ip, 0).into()), &headers);
        let answer = self.app.desk.look(&visitor, Showing::Sign).await;
        let verdict = if answer.is_in() {
            self.app.answered(Way::Envoy, &answer, &visitor);
            let mut response = HttpResponse::default();
            self.app.set_cookie(&mut response, &answer, &visitor);
            let response_headers_to_add = options(response.headers());
            let ok = v3::OkHttpResponse {
                response_headers_to_add,
            };
            (OK, Verdict::OkResponse(ok))
        } else {
            let app = &self.app;
            let response = app.turn_away(Way::Envoy, &answer, &visitor, &wanted, &headers);
            (DENIED, Verdict::DeniedResponse(denied(response).await))
        };
        Ok(Response::new(v3::CheckResponse {
            status: Some(v3::Status { code: verdict.0 }),
            http_response: Some(verdict.1),
        }))
    }
}

async fn denied(response: HttpResponse) -> v3::DeniedHttpResponse {
    let (parts, body) = response.into_parts();
    // What is here is in memory already.
    let body = to_bytes(body, MAX_PAGE_BYTES).await.unwrap_or_default();
    v3::DeniedHttpResponse {
        status: Some(v3::HttpStatus {
            code: parts.status.as_u16().into(),
        }),
        headers: options(&parts.headers),
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn options(headers: &HeaderMap) -> Vec<v3::HeaderValueOption> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?.to_owned();
        let key = name.as_str().to_owned();
        Some(v3::HeaderValueOption {
            header: Some(v3::HeaderValue { key, value }),
        })
    });
    texts.collect()
}

/// The request's headers, without those that Envoy makes of the request line.
fn headers(http: &v3::attribute_context::HttpRequest) -> HeaderMap {
    let pairs = http
        .headers
        .iter()
        .filter(|(name, _)| !name.starts_with(':'));
    let pairs = pairs.filter_map(|(name, value)| {
        let name = HeaderName::try_from(name).ok()?;
        Some((name, HeaderValue::try_from(value).ok()?))
    });
    pairs.collect()
}
