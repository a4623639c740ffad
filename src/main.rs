//! The `tickcast` binary: parse, run one command, end with its exit code.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    switch_telemetry_off();
    match tickcast::cli::run(std::env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(exit) => {
            // The exit code says it as well, where nothing takes the message.
            let _ = writeln!(std::io::stderr(), "tickcast: {exit}");
            exit.code()
        }
    }
}

/// ONNX Runtime reads these when it is loaded and reports to its maker unless they are set.
#[expect(unsafe_code, reason = "the environment is the only switch that works before loading")]
fn switch_telemetry_off() {
    for name in tickcast::engine::inference::TELEMETRY_SWITCHES {
        // SAFETY: this is the first statement of the process; no other thread exists that could
        // read the environment at the same time.
        unsafe { std::env::set_var(name, "1") };
    }
}
