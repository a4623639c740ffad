//! The `tickcast` binary: parse, run one command, end with its exit code.

use std::io::Write;

fn main() {
    switch_telemetry_off();
    let status = match tickcast::cli::run(std::env::args_os()) {
        Ok(()) => 0,
        Err(exit) => {
            // The exit code says it as well, where nothing takes the message.
            let _ = writeln!(std::io::stderr(), "tickcast: {exit}");
            exit.status()
        }
    };
    leave(status);
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

/// Ends the process without the destructors of its libraries. A command that could not wait any
/// longer leaves threads behind that may be inside of ONNX Runtime, and taking it down under them
/// ends the process with a fault instead of its code.
#[expect(unsafe_code, reason = "the standard library ends a process with destructors only")]
fn leave(status: u8) -> ! {
    // All else that is to be written was flushed by its owner.
    let _ = std::io::stdout().flush();
    // SAFETY: `_exit` takes any status and touches no memory of this process.
    unsafe { libc::_exit(i32::from(status)) }
}
