//! Asks by HTTP/2, and by gRPC's health protocol over it (grpc/doc/health-checking.md).

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use portolan_config::dynamic::service::HealthCheck;

use super::ask::Line;
use super::http1::Answer;
use super::probe::Probe;

/// `HealthCheckRequest` that names no service, which is the server itself: an empty message, framed.
const CHECK: [u8; 5] = [0; 5];
/// `HealthCheckResponse { status: SERVING }`, framed.
const SERVING: [u8; 7] = [0, 0, 0, 0, 2, 0x08, 1];
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 1024;

/// Sends a request without a body; gives what matters of the answer.
pub(super) async fn ask_http(request: Request<()>, line: Line) -> Result<Answer, String> {
    let (response, _) = exchange(request, None, line).await?;
    let location = response
        .headers()
        .get("location")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    Ok(Answer { status: response.status().as_u16(), location })
}

/// Asks a server of gRPC how it is.
pub(super) async fn ask_grpc(probe: &Probe, check: &HealthCheck, line: Line) -> Result<(), String> {
    let own = || if probe.host.is_empty() { probe.address.to_string() } else { probe.host.to_string() };
    let authority = if check.hostname.is_empty() { own() } else { check.hostname.clone() };
    let mut request = Request::builder()
        .method("POST")
        .uri(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in &check.headers {
        request = request.header(name, value);
    }
    let request = request.body(()).map_err(|error| format!("grpc: can't be asked: {error}"))?;
    let failed = |error: String| format!("grpc: {error}");
    let (response, answer) =
        exchange(request, Some(Bytes::from_static(&CHECK)), line).await.map_err(failed)?;
    if response.status() != StatusCode::OK {
        return Err(format!("grpc: {}", response.status().as_u16()));
    }
    let outcome = |fields: &HeaderMap| fields.get("grpc-status").map(|value| value.as_bytes().to_vec());
    let outcome = outcome(&answer.trailers).or_else(|| outcome(response.headers()));
    match outcome.as_deref() {
        None | Some(b"0") if answer.body == SERVING => Ok(()),
        None | Some(b"0") => Err("grpc: it says that it does not serve".to_owned()),
        Some(b"12") => Err("grpc: it does not know the health protocol".to_owned()),
        Some(other) => Err(format!("grpc: status {}", String::from_utf8_lossy(other))),
    }
}

/// What comes behind the head of an answer.
#[derive(Default)]
struct Rest {
    body: Vec<u8>,
    trailers: HeaderMap,
}

/// Sends a request, with a body where there is one; only then is the rest of the answer waited for.
async fn exchange(
    request: Request<()>,
    body: Option<Bytes>,
    line: Line,
) -> Result<(Response<()>, Rest), String> {
    let (requests, connection) = h2::client::handshake(line.io).await.map_err(|error| error.to_string())?;
    let asked = async {
        let mut requests = requests.ready().await?;
        let reads_on = body.is_some();
        let (answer, mut upload) = requests.send_request(request, body.is_none())?;
        if let Some(body) = body {
            upload.send_data(body, true)?;
        }
        let (head, mut incoming) = answer.await?.into_parts();
        let mut rest = Rest::default();
        if reads_on {
            while let Some(data) = incoming.data().await {
                let data = data?;
                let _ = incoming.flow_control().release_capacity(data.len());
                rest.body.extend_from_slice(&data);
                if rest.body.len() > ANSWER_BYTES_MAX {
                    break;
                }
            }
            rest.trailers = incoming.trailers().await?.unwrap_or_default();
        }
        Ok((Response::from_parts(head, ()), rest))
    };
    let answered: Result<_, h2::Error> = tokio::select! {
        answered = asked => answered,
        ended = connection => match ended {
            Ok(()) => return Err("it closed the connection without an answer".to_owned()),
            Err(error) => Err(error),
        },
    };
    answered.map_err(|error| error.to_string())
}
