//! Much at a time, so that it is known whether it arrived whole: bytes that follow from a seed, and their hash.

use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Bytes that follow from a seed, and nothing else.
struct Stream(u64);

impl Stream {
    fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_exact_mut(8) {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}

/// Bytes that are sent at a time.
pub const BLOCK: usize = 64 * 1024;

/// Sends so many blocks; gives their hash.
pub fn send(mut to: &TcpStream, seed: u64, blocks: usize) -> u64 {
    let (mut stream, mut hash, mut block) = (Stream(seed), DefaultHasher::new(), vec![0; BLOCK]);
    for _ in 0..blocks {
        stream.fill(&mut block);
        hash.write(&block);
        to.write_all(&block).expect("it is taken");
    }
    hash.finish()
}

/// How many blocks a test sends that moves much: what `PORTOLAN_TRANSFER_MIB` says, 32 MiB unless it says more.
pub fn blocks() -> usize {
    let mib = std::env::var("PORTOLAN_TRANSFER_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(32);
    mib * 1024 * 1024 / BLOCK
}

/// The hash of so many blocks, as [`send`] gives it.
pub fn hash(seed: u64, blocks: usize) -> u64 {
    let (mut stream, mut hash, mut block) = (Stream(seed), DefaultHasher::new(), vec![0; BLOCK]);
    for _ in 0..blocks {
        stream.fill(&mut block);
        hash.write(&block);
    }
    hash.finish()
}

/// Reads to the end; gives the hash and how much there was.
pub fn receive(mut from: &TcpStream) -> (u64, usize) {
    let (mut hash, mut block, mut bytes) = (DefaultHasher::new(), vec![0; BLOCK], 0);
    loop {
        let mut filled = 0;
        while filled < BLOCK {
            match from.read(&mut block[filled..]).expect("no reset") {
                0 => break,
                more => filled += more,
            }
        }
        if filled == 0 {
            return (hash.finish(), bytes);
        }
        hash.write(&block[..filled]);
        bytes += filled;
    }
}
