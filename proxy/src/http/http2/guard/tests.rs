//! What the guard lets pass and what not, however the bytes arrive.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn conversation(frames: &[Vec<u8>]) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frames.concat()].concat()
}

/// How many frames pass before the guard objects.
fn passes(frames: usize, frame: &[u8]) -> Result<usize, Excess> {
    let now = Moment::now();
    let mut guard = Guard::new(now);
    guard.look(&conversation(&[]), now)?;
    for count in 0..frames {
        if guard.look(frame, now).is_err() {
            return Ok(count);
        }
    }
    Ok(frames)
}

#[test]
fn floods_of_every_kind_end() {
    let ping = frame(0x6, 0, 0, &[0; 8]);
    let settings = frame(0x4, 0, 0, &[]);
    let priority = frame(0x2, 0, 1, &[0; 5]);
    let window = frame(0x8, 0, 0, &[0, 0, 0, 1]);
    let reset = frame(0x3, 0, 1, &[0; 4]);
    let unknown = frame(0xfa, 0, 1, b"x");
    for flood in [ping, settings, priority, window, reset, unknown] {
        assert_eq!(passes(100_000, &flood), Ok(HTTP2_CONTROL_BUDGET as usize), "{flood:?}");
    }
    let empty_data = frame(0x0, 0, 1, &[]);
    let empty_continuation = frame(0x9, 0, 1, &[]);
    for flood in [empty_data, empty_continuation] {
        assert_eq!(passes(100_000, &flood), Ok((HTTP2_CONTROL_BUDGET / EMPTY_PRICE) as usize), "{flood:?}");
    }
}

#[test]
fn what_moves_a_request_on_is_free() {
    let head = frame(0x1, 0x5, 1, &[0x82; 40]);
    let data = frame(0x0, 0, 1, &[1; 100]);
    let last = frame(0x0, 0x1, 1, &[]);
    for frame in [head, data, last] {
        assert_eq!(passes(100_000, &frame), Ok(100_000), "{frame:?}");
    }
}

#[test]
fn an_endless_block_is_cut_off() {
    let piece = frame(0x9, 0, 1, &[0; 1024]);
    assert_eq!(passes(1000, &piece), Ok(HEAD_BYTES_MAX / 1024));
}

#[test]
fn what_was_spent_comes_back_with_time_and_with_what_is_sent() {
    let start = Moment::now();
    let ping = frame(0x6, 0, 0, &[0; 8]);
    let mut guard = Guard::new(start);
    guard.look(&conversation(&[]), start).unwrap();
    // A day of one ping a second.
    for second in 0..86_400 {
        guard.look(&ping, start + Duration::from_secs(second)).unwrap();
    }
    // A download, with two updates of windows for each kilobyte.
    let window = frame(0x8, 0, 0, &[0, 0, 4, 0]);
    for _ in 0..100_000 {
        guard.sent(1024);
        guard.look(&window, start).unwrap();
        guard.look(&window, start).unwrap();
    }
}

#[test]
fn an_unfinished_block_is_known_since_its_beginning() {
    let start = Moment::now();
    let later = start + Duration::from_secs(3);
    let mut guard = Guard::new(start);
    guard.look(&conversation(&[]), start).unwrap();
    guard.look(&frame(0x1, 0x4, 1, &[0x82; 4]), start).unwrap();
    assert_eq!(guard.block_since(), None);
    let head = frame(0x1, 0x4, 3, &[0x82; 4]);
    guard.look(&head[..12], start).unwrap();
    assert_eq!(guard.block_since(), Some(start));
    guard.look(&head[12..], later).unwrap();
    assert_eq!(guard.block_since(), None);
    guard.look(&frame(0x1, 0, 5, &[0x82]), start).unwrap();
    guard.look(&frame(0x9, 0, 5, &[0x82]), later).unwrap();
    assert_eq!(guard.block_since(), Some(start));
    guard.look(&frame(0x9, 0x4, 5, &[]), later).unwrap();
    assert_eq!(guard.block_since(), None);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (0_u8..12, any::<u8>(), 0_u32..8, proptest::collection::vec(any::<u8>(), 0..64))
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload))
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_arrive(
        frames in proptest::collection::vec(any_frame(), 0..400),
        repeat in 1_usize..8,
        cuts in proptest::collection::vec(1_usize..200, 1..50),
    ) {
        let now = Moment::now();
        let bytes = conversation(&vec![frames.concat(); repeat]);
        let mut whole = Guard::new(now);
        let expected = whole.look(&bytes, now);
        let mut pieces = Guard::new(now);
        let mut rest = &bytes[..];
        let mut found = Ok(());
        for cut in cuts.iter().cycle() {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            found = pieces.look(piece, now);
            rest = behind;
            if found.is_err() || rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, expected);
        if expected.is_ok() {
            prop_assert_eq!(pieces.block_since(), whole.block_since());
            prop_assert_eq!((pieces.spent, pieces.left, pieces.have), (whole.spent, whole.left, whole.have));
        }
    }
}
