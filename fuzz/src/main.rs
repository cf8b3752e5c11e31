//! Runs every target for a bounded time, on inputs made of the corpus by a seeded sequence: `bounded [SECONDS [SEED]]`.
//! The same seed gives the same inputs. It ends with 1 at the first input that a target does not stand.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, panic, thread};

use portolan_fuzz::{TARGETS, Target};

/// For each target, unless told otherwise.
const SECONDS: u64 = 15;

/// What parsers look at.
const WORDS: [&str; 44] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "=",
    "/",
    "//",
    "..",
    "%2e",
    "%2F",
    "?",
    "#",
    "*",
    "@",
    "\u{e9}",
    "chunked",
    "Transfer-Encoding: ",
    "Content-Length: ",
    "Host: ",
    "Connection: ",
    "close",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "X-Forwarded-For: ",
    "HTTP/1.0",
    "HTTP/1.1",
    "http://",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "-1",
    "+5",
    "0x5",
    "18446744073709551615",
    "ffffffffffffffff",
    "\r\n\r\n",
    "`",
    "Host(`a`)",
    "&&",
    "!(",
];

/// A sequence that is the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) % limit.max(1) as u64) as usize
    }
}

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u64>());
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(SECONDS);
    let seed = arguments.next().and_then(Result::ok).unwrap_or(1);
    println!("{seconds} s for each target, seed {seed}");
    // The input is shown once it is known; the place is in the message.
    let workers = thread::available_parallelism().map_or(1, usize::from).min(TARGETS.len());
    let sound = thread::scope(|scope| {
        let share = |worker: usize| TARGETS.iter().skip(worker).step_by(workers);
        let handles: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || share(worker).all(|target| run(target, seconds, seed))))
            .collect();
        handles.into_iter().all(|handle| handle.join().unwrap_or(false))
    });
    ExitCode::from(u8::from(!sound))
}

/// Gives whether the target stood every input.
fn run((name, target): &Target, seconds: u64, seed: u64) -> bool {
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "there is no corpus for {name}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut random = Random(seed);
    let mut count = 0_u64;
    while Instant::now() < until {
        // The corpus itself first, as it is.
        let input = match corpus.get(count as usize) {
            Some(input) => input.clone(),
            None => mutated(&corpus, &mut random),
        };
        if panic::catch_unwind(|| target(&input)).is_err() {
            println!(
                "{name}: input {count} of seed {seed} is not stood: {:?}",
                String::from_utf8_lossy(&input)
            );
            println!("{name}: in bytes: {input:?}");
            return false;
        }
        count += 1;
    }
    println!("{name}: {count} inputs");
    true
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    // The order of a directory is any; that of the inputs is not to be.
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(16)).min(input.len());
        match random.below(8) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 if at < end => drop(input.drain(at..end)),
            3 if at < end => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 if at < end => {
                let word = WORDS[random.below(WORDS.len())];
                input.splice(at..end, word.bytes());
            }
            _ => {
                let word = WORDS[random.below(WORDS.len())];
                input.splice(at..at, word.bytes());
            }
        }
    }
    input
}
