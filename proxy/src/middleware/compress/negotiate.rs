//! Which coding a client likes best, of those that we have (RFC 9110 §12.5.3).

use portolan_config::dynamic::middleware::Encoding;

use super::name;

/// The coding for a client that sent these lines of `Accept-Encoding`; `None` is none at all. `known` is in our own
/// order, which decides between what the client likes as well.
pub(super) fn choose<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    known: &[Encoding],
    default: Option<Encoding>,
) -> Option<Encoding> {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        // Anything would be acceptable (RFC 9110 §12.5.3), but those who say nothing often can't read it.
        return default;
    }
    let mut weights = vec![None; known.len()];
    let (mut identity, mut others) = (None, None);
    for item in lines.flat_map(|line| line.split(|byte| *byte == b',')) {
        let (coding, weight) = read(item);
        if coding == b"*" {
            others = Some(weight);
        } else if coding.eq_ignore_ascii_case(b"identity") {
            identity = Some(weight);
        } else if let Some(at) =
            known.iter().position(|known| coding.eq_ignore_ascii_case(name(*known).as_bytes()))
        {
            weights[at] = Some(weight);
        }
    }
    // Above all that is named stands "any other", then our order; what is not coded comes last.
    let any = others.and_then(|weight| {
        let is_open = |encoding: &Encoding| {
            known.iter().position(|known| known == encoding).is_some_and(|at| weights[at] != Some(0))
        };
        let any = default.filter(is_open).or_else(|| known.iter().copied().find(is_open));
        any.map(|encoding| (weight, Some(encoding)))
    });
    let named =
        known.iter().zip(&weights).map(|(encoding, weight)| weight.map(|weight| (weight, Some(*encoding))));
    let plain = identity.map(|weight| (weight, None));
    let mut best: Option<(u16, Option<Encoding>)> = None;
    for (weight, encoding) in std::iter::once(any).chain(named).chain(std::iter::once(plain)).flatten() {
        if weight > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
            best = Some((weight, encoding));
        }
    }
    best.and_then(|(_, encoding)| encoding)
}

/// A coding and how much it is liked, in thousandths (RFC 9110 §12.4.2). What can't be read is not liked.
fn read(item: &[u8]) -> (&[u8], u16) {
    let mut parts = item.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let coding = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
    let Some(weight) = weight else { return (coding, 1000) };
    let weight = std::str::from_utf8(weight).ok().and_then(|text| text.parse::<f32>().ok());
    let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
    // Checked to lie between 0 and 1.
    #[allow(clippy::cast_sign_loss)]
    (coding, (weight * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Br, Encoding::Zstd];

    fn chosen(lines: &[&str], known: &[Encoding], default: Option<Encoding>) -> Option<Encoding> {
        choose(lines.iter().map(|line| line.as_bytes()), known, default)
    }

    #[test]
    fn the_client_decides_and_then_our_order() {
        use Encoding::{Br, Gzip, Zstd};
        for (line, expected) in [
            ("", None),
            ("gzip, br", Some(Gzip)),
            ("br,gzip", Some(Gzip)),
            ("zstd", Some(Zstd)),
            ("GZIP", Some(Gzip)),
            ("compress, gzip", Some(Gzip)),
            ("compress, rar", None),
            ("*", Some(Gzip)),
            ("br;q=0.8, gzip;q=1.0, *;q=0.1", Some(Gzip)),
            ("br;q=0.8, gzip; q=0.7", Some(Br)),
            ("br;q=0.8, identity;q=1.0", None),
            ("br;q=0.8, identity;q=0.8", Some(Br)),
            ("compress;q=1.0, gzip;q=0.5", Some(Gzip)),
            ("compress;q=1.0, gzip, identity;q=0", Some(Gzip)),
            ("compress;q=1.0, identity;q=0", None),
            ("compress;q=1.0, *;q=0", None),
            ("gzip, *;q=0", Some(Gzip)),
            ("br;q=0, gzip;q=0, zstd;q=0", None),
            ("br;q=1.0, zstd;q=1.0, gzip;q=1.0", Some(Gzip)),
            ("gzip;q=0, *", Some(Br)),
            ("gzip;q=0, br;q=0, zstd;q=0, *", None),
            ("gzip;q=x, br;q=0.1", Some(Br)),
            ("gzip;q=7, br;q=0.1", Some(Br)),
            (",, ;q=1", None),
        ] {
            assert_eq!(chosen(&[line], &ALL, None), expected, "{line}");
        }
        assert_eq!(chosen(&["gzip;q=0.5", "br"], &ALL, None), Some(Br), "several lines are one list");
        assert_eq!(chosen(&["zstd, gzip, br"], &[Br, Gzip], None), Some(Br));
        assert_eq!(chosen(&["br;q=0.8, gzip;q=1.0, *;q=0.1"], &[Zstd, Br], None), Some(Br));
        assert_eq!(chosen(&["gzip, br;q=0.9"], &[Gzip, Br], None), Some(Gzip));
    }

    #[test]
    fn a_default_is_for_those_who_say_nothing_or_anything() {
        use Encoding::{Br, Gzip, Zstd};
        assert_eq!(chosen(&[], &ALL, None), None);
        assert_eq!(chosen(&[], &ALL, Some(Zstd)), Some(Zstd));
        assert_eq!(chosen(&["*"], &ALL, Some(Br)), Some(Br));
        assert_eq!(chosen(&["br;q=0, gzip;q=0, zstd;q=0"], &ALL, Some(Br)), None);
        assert_eq!(chosen(&["br;q=0, *"], &ALL, Some(Br)), Some(Gzip), "refused is refused");
        assert_eq!(chosen(&["br, gzip"], &ALL, Some(Br)), Some(Gzip), "who says what it likes is not meant");
        assert_eq!(chosen(&[""], &ALL, Some(Br)), None);
    }
}
