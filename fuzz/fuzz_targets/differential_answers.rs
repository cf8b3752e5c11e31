//! For cargo-fuzz; without it, the bounded runner calls the same function.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::differential_answers(bytes));

#[cfg(not(fuzzing))]
fn main() {
    println!("built without cargo-fuzz: run `bounded`");
}
