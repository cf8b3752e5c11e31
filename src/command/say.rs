//! What a verb shows, on standard output. Whoever does not read on (`portolan ps | head`) has seen enough: that is no
//! fault, and ends nothing but the showing.

use std::io::{self, Write};

/// Shows a text that ends with a line. An error says why it can't be shown.
pub fn say(text: &str) -> Result<(), String> {
    say_to(&mut io::stdout().lock(), text)
}

fn say_to(out: &mut impl Write, text: &str) -> Result<(), String> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output can't be written: {error}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives this error for whatever is written.
    struct Closed(io::ErrorKind);

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_left_is_no_fault_and_a_full_disk_is_one() {
        assert_eq!(say_to(&mut Closed(io::ErrorKind::BrokenPipe), "x\n"), Ok(()));
        let full = say_to(&mut Closed(io::ErrorKind::StorageFull), "x\n");
        assert!(full.expect_err("it is told").contains("can't be written"));
    }
}
