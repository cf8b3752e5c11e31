//! Signals, as engines write them: `15`, `SIGTERM`, `term`, `SIGRTMIN+3`.
//!
//! An event says a number, an image's `STOPSIGNAL` a number or a name; draining begins where the two are equal. It knows
//! Linux's numbers, which are the ones that containers get whatever Portolan runs on.

/// What an engine sends when nothing else was asked for.
pub(super) const TERM: i32 = 15;

/// What nothing survives.
pub(super) const KILL: i32 = 9;

/// The number of the signal written as `text`.
pub(super) fn number(text: &str) -> Option<i32> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(34, offset, '+');
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(64, offset, '-');
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// `RTMIN+3` and `RTMAX-2` count from their end; systemd is told to stop by the former.
fn real_time(base: i32, offset: &str, sign: char) -> Option<i32> {
    if offset.is_empty() {
        return Some(base);
    }
    let offset: i32 = offset.strip_prefix(sign)?.parse().ok()?;
    let number = if sign == '+' { base.checked_add(offset)? } else { base.checked_sub(offset)? };
    (34..=64).contains(&number).then_some(number)
}

const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", KILL),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", TERM),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn every_spelling_of_a_stop_signal_is_read() {
        let cases = [
            ("15", Some(15)),
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            (" SIGQUIT ", Some(3)),
            ("SIGWINCH", Some(28)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+99", None),
            ("RTMIN+2147483647", None),
            ("0", None),
            ("65", None),
            ("", None),
            ("SIGNOTHING", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
