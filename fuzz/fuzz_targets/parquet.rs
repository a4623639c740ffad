//! See `parquet` in tests/fuzz, which the ordinary tests run as well.

#![no_main]
#![allow(dead_code, reason = "each program runs one of the targets")]

#[path = "../../tests/fuzz/mod.rs"]
mod bodies;

/// The library panics over some damaged files, which the reader takes for the damage that it is.
/// libFuzzer would end there; only our own panics are findings.
fn quiet_library() {
    let ours = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let of_library = |file: &str| file.contains("/registry/") || file.starts_with("/rustc/");
        if !panic.location().is_some_and(|place| of_library(place.file())) {
            ours(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: quiet_library(), |data: &[u8]| {
    bodies::run("parquet", data);
});
