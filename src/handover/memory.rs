//! What one process knows, in memory that another can be handed: it goes among the sockets, as a file without a name.
//!
//! A process of a version that knows nothing of it takes it for a socket of no use, and says so; one that is given none
//! does without.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use portolan_discovery::Kept;
use portolan_discovery::kept::BYTES_MAX;
use rustix::fs::{FileType, MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create};

/// Puts it there, never to change again.
pub fn put(kept: &Kept) -> io::Result<OwnedFd> {
    let memory = memfd_create("portolan-state", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = File::from(memory);
    file.write_all(&kept.encode())?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

/// Takes it out from among sockets, where it is there and can be read.
pub fn take(handed: &mut Vec<OwnedFd>) -> Option<Kept> {
    let place = handed.iter().position(|file| !is_socket(file))?;
    match read(File::from(handed.remove(place))) {
        Ok(kept) => Some(kept),
        Err(error) => {
            tracing::warn!(%error, "what the running Portolan knows can't be read; the engine is asked");
            None
        }
    }
}

fn is_socket(file: &impl AsFd) -> bool {
    fstat(file).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket)
}

fn read(mut file: File) -> io::Result<Kept> {
    // Whoever wrote left the place at its end.
    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Kept::decode(&bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn it_is_found_among_sockets() {
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let kept = Kept { boot: "b".to_owned(), ..Kept::default() };
        let mut handed = vec![socket(), put(&kept).unwrap(), socket()];
        assert_eq!(take(&mut handed), Some(kept));
        assert_eq!(handed.len(), 2);
        assert_eq!(take(&mut handed), None, "those are sockets");
        handed.push(tempfile::tempfile().unwrap().into());
        assert_eq!(take(&mut handed), None, "that is no state");
        assert_eq!(handed.len(), 2);
    }
}
