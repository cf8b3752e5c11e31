//! Reads a whole answer of a server that Portolan asks in its own name.

use std::rc::Rc;

use super::Method;
use super::body::{Body, Framing};
use super::head::{fields, parse_response};
use super::response::{self, Manner};
use crate::middleware::{AnswerHead, ServerError};
use crate::stream::ReadHalf;
use crate::worker::Buffers;

/// The head and the body, and whether the connection can go on; `None` where the body has more than `most` bytes.
pub(crate) async fn read_answer(
    stream: &mut ReadHalf<'_>,
    method: Method,
    most: usize,
    buffers: &Rc<Buffers>,
) -> Result<Option<(AnswerHead, Vec<u8>, bool)>, ServerError> {
    let mut input = buffers.take();
    let (head, framing, keep_alive) = loop {
        if let Some((length, understood)) = understand(input.filled(), method)? {
            input.consume(length);
            if understood.0.status >= 200 {
                break understood;
            }
            continue;
        }
        if !matches!(input.read_from(stream).await, Ok(1..)) {
            return Err(ServerError::Failed("it broke off"));
        }
    };
    let (mut body, mut content) = (Body::new(framing), Vec::new());
    loop {
        let scanned = body
            .scan_payload(input.filled(), |piece| content.extend_from_slice(piece))
            .map_err(|_| ServerError::Failed("its answer can't be read"))?;
        input.consume(scanned.length);
        if content.len() > most {
            return Ok(None);
        }
        if body.is_done() {
            let reusable = keep_alive && framing != Framing::UntilClose && input.is_empty();
            return Ok(Some((head, content, reusable)));
        }
        match input.read_from(stream).await {
            Ok(1..) => {}
            Ok(0) if body.ends_with_connection() => return Ok(Some((head, content, false))),
            Ok(0) | Err(_) => return Err(ServerError::Failed("it broke its answer off")),
        }
    }
}

type Understood = (AnswerHead, Framing, bool);

fn understand(bytes: &[u8], method: Method) -> Result<Option<(usize, Understood)>, ServerError> {
    let mut room = fields();
    let head = parse_response(bytes, &mut room, method)
        .map_err(|_| ServerError::Failed("its answer can't be read"))?;
    let Some(head) = head else { return Ok(None) };
    let mut edited = response::to_edit(&head, Manner { close: false, is_http10: true });
    edited.fields.remove("Content-Length");
    Ok(Some((head.length, (edited, head.framing, head.keep_alive))))
}
