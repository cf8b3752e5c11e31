//! The few calls of bpf(2) that this takes, and what TCP says of a socket (tcp(7), tcp_info). Nothing is known here of
//! what they are for.
//!
//! Unsafe, since the kernel is given pointers, and no crate there is has these calls without a loader of object files
//! around them.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_void};

const MAP_CREATE: c_int = 0;
const MAP_LOOK_UP: c_int = 1;
const MAP_UPDATE: c_int = 2;
const MAP_DELETE: c_int = 3;
const PROGRAM_LOAD: c_int = 5;
const PROGRAM_ATTACH: c_int = 8;
/// `BPF_PROG_TYPE_SK_SKB`.
const SK_SKB: u32 = 14;
/// `BPF_SK_SKB_VERDICT`.
const SK_SKB_VERDICT: u32 = 38;
const KEY_BYTES: u32 = 8;

/// What a map is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Hash,
    /// Of sockets, written by descriptor.
    Sockets,
}

/// A map of values of `N` bytes by 64-bit numbers.
#[derive(Debug)]
pub(super) struct Map<const N: usize> {
    descriptor: OwnedFd,
}

/// What TCP says of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Its number in TCP's state machine, as Linux counts.
    pub(super) state: u8,
    /// Milliseconds since something was received.
    pub(super) silent_ms: u32,
    /// Bytes that the other side has acknowledged.
    pub(super) acknowledged: u64,
}

#[repr(C)]
struct MapAttributes {
    kind: u32,
    key: u32,
    value: u32,
    most: u32,
    flags: u32,
}

#[repr(C)]
struct ElementAttributes {
    map: u32,
    _unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    code: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

impl<const N: usize> Map<N> {
    pub(super) fn new(kind: Kind, most: u32) -> io::Result<Self> {
        let (kind, flags) = match kind {
            // Memory is taken as entries come (`BPF_F_NO_PREALLOC`).
            Kind::Hash => (1, 1),
            Kind::Sockets => (18, 0),
        };
        let value = u32::try_from(N).map_err(io::Error::other)?;
        let attributes = MapAttributes { kind, key: KEY_BYTES, value, most, flags };
        Ok(Self { descriptor: descriptor(call(MAP_CREATE, &attributes)?)? })
    }

    pub(super) fn number(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    pub(super) fn put(&self, key: u64, value: &[u8; N]) -> io::Result<()> {
        let attributes = self.element(&key, value.as_ptr() as u64);
        call(MAP_UPDATE, &attributes).map(drop)
    }

    pub(super) fn get(&self, key: u64) -> io::Result<[u8; N]> {
        let mut value = [0; N];
        let attributes = self.element(&key, value.as_mut_ptr() as u64);
        call(MAP_LOOK_UP, &attributes)?;
        Ok(value)
    }

    pub(super) fn remove(&self, key: u64) {
        // What is not there is as good as removed.
        let _ = call(MAP_DELETE, &self.element(&key, 0));
    }

    fn element(&self, key: &u64, value: u64) -> ElementAttributes {
        let key = std::ptr::from_ref(key) as u64;
        ElementAttributes { map: self.number().cast_unsigned(), _unused: 0, key, value, flags: 0 }
    }
}

/// Has the kernel prove and take a program, and run it for every socket of a map.
pub(super) fn attach<const N: usize>(code: &[[u8; 8]], sockets: &Map<N>) -> io::Result<OwnedFd> {
    let load = LoadAttributes {
        kind: SK_SKB,
        count: u32::try_from(code.len()).map_err(io::Error::other)?,
        code: code.as_ptr() as u64,
        licence: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
        kernel: 0,
        flags: 0,
    };
    let program = descriptor(call(PROGRAM_LOAD, &load)?)?;
    let (target, number) = (sockets.number().cast_unsigned(), program.as_raw_fd().cast_unsigned());
    call(PROGRAM_ATTACH, &AttachAttributes { target, program: number, kind: SK_SKB_VERDICT, flags: 0 })?;
    Ok(program)
}

/// Asks TCP about a socket.
pub(super) fn standing(socket: impl AsFd) -> io::Result<Standing> {
    // Offsets within `struct tcp_info`, which only ever grows at its end.
    const SILENT: usize = 52;
    const ACKNOWLEDGED: usize = 120;
    const BYTES: usize = 128;
    let mut info = [0_u8; BYTES];
    let mut length = BYTES as libc::socklen_t;
    let (number, at) = (socket.as_fd().as_raw_fd(), info.as_mut_ptr().cast::<c_void>());
    // SAFETY: the kernel writes no more than `length` bytes, which are there, and the descriptor is open.
    let failed = unsafe { libc::getsockopt(number, libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut length) };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    let word = |at: usize| u32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
    let mut acknowledged = [0; 8];
    acknowledged.copy_from_slice(&info[ACKNOWLEDGED..ACKNOWLEDGED + 8]);
    let acknowledged = u64::from_ne_bytes(acknowledged);
    Ok(Standing { state: info[0], silent_ms: word(SILENT), acknowledged })
}

/// Bytes that were written to a socket and that the other side has not acknowledged (`SIOCOUTQ`).
pub(super) fn unacknowledged(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the kernel writes one `int` there, and the descriptor is open.
    let failed = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(u64::try_from(bytes).unwrap_or(0)) }
}

/// Bytes that a socket has received and nobody has read (`SIOCINQ`).
pub(super) fn unread(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the kernel writes one `int` there, and the descriptor is open.
    let failed = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
    if failed != 0 { Err(io::Error::last_os_error()) } else { Ok(u64::try_from(bytes).unwrap_or(0)) }
}

fn call<T>(command: c_int, attributes: &T) -> io::Result<c_long> {
    // SAFETY: each command reads no more than the attributes it is given, whose pointers lead to what lives as long as
    // the call, in the sizes that the map was made with.
    let outcome =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(outcome) }
}

fn descriptor(number: c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it for us, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
