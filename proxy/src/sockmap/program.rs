//! What the kernel runs for every packet of a connection that is in the map: a verdict (`BPF_PROG_TYPE_SK_SKB`).
//!
//! It is written here, instruction by instruction (RFC 9669), and not compiled from C: it is 40 instructions long, a
//! compiler for it would have to be there wherever Portolan is built, and what one had made could not be read here.
//! The kernel proves it harmless before it takes it.
//!
//! ```text
//! key = cookie(socket)
//! if limits[key].cleared != counts[key].passed → pass       something that came before is with user space yet
//! if counts[key].redirected + len > limits[key].allowed → pass
//! counts[key].redirected += len;  redirect to sockets[key]
//! pass: counts[key].passed += len; the socket keeps the packet, and user space reads it
//! ```

use std::os::fd::RawFd;

/// Where it looks, by descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Maps {
    pub(super) sockets: RawFd,
    pub(super) counts: RawFd,
    pub(super) limits: RawFd,
}

/// A register.
type Register = u8;
const R0: Register = 0;
const R1: Register = 1;
const R2: Register = 2;
const R3: Register = 3;
const R4: Register = 4;
const R5: Register = 5;
/// Kept across calls, as R7 and R8 are.
const CONTEXT: Register = 6;
const LENGTH: Register = 7;
const COUNTS: Register = 8;
const FRAME: Register = 10;

/// `bpf_map_lookup_elem`.
const LOOK_UP: i32 = 1;
/// `bpf_get_socket_cookie`.
const COOKIE: i32 = 46;
/// `bpf_sk_redirect_hash`.
const REDIRECT: i32 = 72;
/// `SK_PASS`.
const PASS: i32 = 1;
/// `SK_DROP`.
const DROP: i32 = 0;
/// Where the key is, from the end of the frame.
const KEY: i16 = -8;

const ADD: u8 = 0x0f;
const ADD_CONST: u8 = 0x07;
const MOVE: u8 = 0xbf;
const MOVE_CONST: u8 = 0xb7;
const LOAD_WORD: u8 = 0x61;
const LOAD: u8 = 0x79;
const STORE: u8 = 0x7b;
const IF_EQUAL_CONST: u8 = 0x15;
const IF_UNEQUAL: u8 = 0x5d;
const IF_GREATER: u8 = 0x2d;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// Loads a map; takes the place of two instructions.
const LOAD_MAP: u8 = 0x18;
/// The constant of [`LOAD_MAP`] is a descriptor (`BPF_PSEUDO_MAP_FD`).
const IS_DESCRIPTOR: Register = 1;

/// Where jumps lead, all of them forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Pass,
    Exit,
    Drop,
}

#[derive(Debug, Default)]
struct Program {
    code: Vec<[u8; 8]>,
    jumps: Vec<(usize, To)>,
}

impl Program {
    fn push(&mut self, operation: u8, to: Register, from: Register, offset: i16, constant: i32) {
        let ([o0, o1], [c0, c1, c2, c3]) = (offset.to_ne_bytes(), constant.to_ne_bytes());
        // The two registers are bit fields, which lie as the machine's bytes do.
        let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
        self.code.push([operation, registers, o0, o1, c0, c1, c2, c3]);
    }

    fn jump(&mut self, operation: u8, left: Register, right: Register, constant: i32, to: To) {
        self.jumps.push((self.code.len(), to));
        self.push(operation, left, right, 0, constant);
    }

    fn here(&mut self, label: To) {
        for (at, _) in self.jumps.iter().filter(|(_, to)| *to == label) {
            let distance = i16::try_from(self.code.len() - at - 1).unwrap_or(i16::MAX).to_ne_bytes();
            self.code[*at][2..4].copy_from_slice(&distance);
        }
    }

    fn load_map(&mut self, to: Register, map: RawFd) {
        self.push(LOAD_MAP, to, IS_DESCRIPTOR, 0, map);
        self.push(0, 0, 0, 0, 0);
    }

    /// A map's value for the key, in R0.
    fn look_up(&mut self, map: RawFd) {
        self.load_map(R1, map);
        self.push(MOVE, R2, FRAME, 0, 0);
        self.push(ADD_CONST, R2, 0, 0, KEY.into());
        self.push(CALL, 0, 0, 0, LOOK_UP);
        self.jump(IF_EQUAL_CONST, R0, 0, 0, To::Exit);
    }
}

/// The instructions.
pub(super) fn verdict(maps: Maps) -> Vec<[u8; 8]> {
    let mut program = Program::default();
    program.push(MOVE, CONTEXT, R1, 0, 0);
    program.push(LOAD_WORD, LENGTH, CONTEXT, 0, 0);
    // The end of a connection without a byte. The socket knows of it already; behind others in a queue, the kernel takes
    // nothing that was moved for a failure, and moves nothing more of either way (`sk_psock_backlog`, Linux 6.18).
    program.jump(IF_EQUAL_CONST, LENGTH, 0, 0, To::Drop);
    program.push(CALL, 0, 0, 0, COOKIE);
    program.push(STORE, FRAME, R0, KEY, 0);
    program.look_up(maps.counts);
    program.push(MOVE, COUNTS, R0, 0, 0);
    program.look_up(maps.limits);
    program.push(LOAD, R5, R0, 0, 0); // allowed
    program.push(LOAD, R3, R0, 8, 0); // cleared
    program.push(LOAD, R4, R0, 16, 0); // whose limits these are
    program.push(LOAD, R2, COUNTS, 8, 0); // passed
    // The element of a hash may be another's by now, once it was replaced.
    program.push(LOAD, R1, FRAME, KEY, 0);
    program.jump(IF_UNEQUAL, R4, R1, 0, To::Pass);
    program.jump(IF_UNEQUAL, R2, R3, 0, To::Pass);
    program.push(LOAD, R4, COUNTS, 0, 0); // redirected
    program.push(ADD, R4, LENGTH, 0, 0);
    program.jump(IF_GREATER, R4, R5, 0, To::Pass);
    program.push(STORE, COUNTS, R4, 0, 0);
    program.push(MOVE, R1, CONTEXT, 0, 0);
    program.load_map(R2, maps.sockets);
    program.push(MOVE, R3, FRAME, 0, 0);
    program.push(ADD_CONST, R3, 0, 0, KEY.into());
    program.push(MOVE_CONST, R4, 0, 0, 0);
    program.push(CALL, 0, 0, 0, REDIRECT);
    program.push(EXIT, 0, 0, 0, 0);
    program.here(To::Pass);
    program.push(ADD, R2, LENGTH, 0, 0);
    program.push(STORE, COUNTS, R2, 8, 0);
    program.here(To::Exit);
    program.push(MOVE_CONST, R0, 0, 0, PASS);
    program.push(EXIT, 0, 0, 0, 0);
    program.here(To::Drop);
    program.push(MOVE_CONST, R0, 0, 0, DROP);
    program.push(EXIT, 0, 0, 0, 0);
    program.code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_forwards_and_into_the_program() {
        let code = verdict(Maps { sockets: 3, counts: 4, limits: 5 });
        assert_eq!(code.len(), 43);
        let mut jumps = 0;
        for (at, one) in code.iter().enumerate().filter(|(_, one)| matches!(one[0], 0x15 | 0x5d | 0x2d)) {
            let distance = i16::from_ne_bytes([one[2], one[3]]);
            let to = at + 1 + usize::try_from(distance).expect("forwards");
            assert!(to > at + 1 && to < code.len(), "{at}: {to}");
            jumps += 1;
        }
        assert_eq!(jumps, 6);
    }
}
