//! Bytes of a pair that is established: the kernel passes them on where that is asked for and can be done, else the worker.

use crate::sockmap::carry;
use crate::stream::Stream;
use crate::worker::{Pace, Relayed, Worker, relay};

/// Passes everything on, unread, until both sides are done. `entry_point` is the name that metrics have for where the client
/// came by.
pub(crate) async fn pass(
    client: Stream,
    endpoint: Stream,
    by_kernel: bool,
    pace: Pace,
    entry_point: &str,
    worker: &Worker,
) -> Relayed {
    let (mut client, mut endpoint) = match (client, endpoint) {
        (Stream::Tcp(client), Stream::Tcp(endpoint)) if by_kernel => match worker.sockmap.maps() {
            Ok(maps) => {
                let (relayed, by_kernel) = Box::pin(carry(client, endpoint, maps, pace)).await;
                worker.metrics.datapath.connections(entry_point, by_kernel.into());
                return relayed;
            }
            Err(why) => {
                tracing::debug!(why, entry_point, "a connection stays in user space");
                (client.into(), endpoint.into())
            }
        },
        others => others,
    };
    relay(&mut client, &mut endpoint, pace, worker).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pair_that_waits_keeps_little() {
        let (worker, _drain) = Worker::alone();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connect = async || tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (client, endpoint) = (connect().await, connect().await);
        let pair = pass(client.into(), endpoint.into(), false, Pace::default(), "x", &worker);
        let bytes = size_of_val(&pair);
        assert!(bytes <= 1536, "{bytes} bytes");
    }
}
