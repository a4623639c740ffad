//! A command of this program that runs a graph, in a process of its own.
//!
//! Owns both ends of what the two processes say to each other. Promises that a graph which hangs,
//! ends its process or takes all memory costs the asking process nothing but the command, and that
//! what the command says on its way is shown at once and without words of the runtime. Never reads
//! what the command writes to standard output, which belongs to the person.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::answer::{confine, words};
use super::ask::{LOOK_EVERY, OWN_FAILURES, Running, THIS_PROGRAM, memory_file};
use super::room::within_room;
use super::{MEMORY_OPTION, ProofLimits, SECONDS_OPTION, explain_memory};
use crate::core::text::{excerpt, excerpt_of_bytes};
use crate::ops::clock::Stopwatch;

/// The word on the command line that makes a process run a command within limits.
pub const CONFINED: &str = "confined";

/// What begins a line that is no word of the runtime.
const MARK: u8 = 0x1e;

/// The most that a command may write to one file: more than a bundle has.
const WRITTEN_BYTES_MAX: u64 = 256 << 20;

/// What is read at once of what the command says.
const READ_BYTES: usize = 64 << 10;

/// The characters of a dead command's last words that are shown.
const WORDS_CHARS_MAX: usize = 200;

/// The process that asks, and what the command may take.
#[derive(Clone, Copy, Debug)]
pub struct Confinement {
    /// The process that asks.
    pub parent: u32,
    /// The most memory, in bytes.
    pub memory_bytes: u64,
    /// The most time of a processor, in seconds.
    pub seconds: u64,
}

/// How a command in a process of its own ended.
#[derive(Debug)]
pub enum Ended {
    /// It did what it was asked for.
    Done,
    /// It failed, with its exit code and why.
    Failed {
        /// The code of the process.
        status: u8,
        /// For the person.
        message: String,
    },
    /// It hung, took too much or was ended by what it ran.
    Cut(String),
    /// The system gives no process.
    Unable(String),
}

/// What a command says.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// On its way.
    Told(String),
    /// Why it ends.
    Failed(String),
    /// What a panic says that ends it.
    Panicked(String),
}

/// Says a line to the process that asks.
pub fn say(line: &str) {
    write(&Said::Told(line.to_owned()));
}

fn write(said: &Said) {
    let Ok(json) = serde_json::to_vec(said) else { return };
    let line = [&[MARK], &*json, b"\n"].concat();
    // There is nowhere else to say it.
    let _ = io::stderr().write_all(&line);
}

/// Limits this process from now on; it ends with the one that asked.
///
/// # Errors
/// Where it cannot follow the one that asked, which may be gone.
pub fn accept(confinement: &Confinement) -> io::Result<()> {
    let Confinement { parent, memory_bytes, seconds } = *confinement;
    confine(parent, memory_bytes, seconds, WRITTEN_BYTES_MAX)
}

/// Runs a command and says why it failed.
///
/// # Errors
/// Those of the command, and what `panicked` makes of the words of a panic.
pub fn run_confined<E: std::fmt::Display>(
    command: impl FnOnce() -> Result<(), E>,
    panicked: impl FnOnce(String) -> E,
) -> Result<(), E> {
    match catch_unwind(AssertUnwindSafe(command)) {
        Ok(ended) => ended.inspect_err(|error| write(&Said::Failed(error.to_string()))),
        Err(panic) => {
            let words = words(&*panic);
            write(&Said::Panicked(words.clone()));
            Err(panicked(words))
        }
    }
}

/// Runs a command of this program, given by its arguments, in a process of its own. What it says on
/// its way goes to `tell`.
pub fn confined(arguments: &[OsString], limits: ProofLimits, tell: &mut dyn FnMut(&str)) -> Ended {
    let memory_bytes = within_room(limits.memory_bytes);
    let limits = ProofLimits { memory_bytes, ..limits };
    match start(arguments, limits) {
        Ok((child, said)) => Asked { child, said: Hearing::of(said), limits }.await_end(tell),
        Err(error) => Ended::Unable(error.to_string()),
    }
}

fn start(arguments: &[OsString], limits: ProofLimits) -> io::Result<(Running, File)> {
    let said = memory_file()?;
    let mut command = Command::new(THIS_PROGRAM);
    let seconds = limits.time.as_secs().saturating_add(1);
    command.arg(CONFINED);
    for (name, value) in [
        ("--parent", u64::from(std::process::id())),
        ("--memory-bytes", limits.memory_bytes),
        ("--seconds", seconds),
    ] {
        command.args([name, &value.to_string()]);
    }
    // In the group of this process: Ctrl-C in a terminal is for both.
    command.arg("--").args(arguments).stdin(Stdio::null()).stderr(said.try_clone()?);
    Ok((Running::of(command.spawn()?), said))
}

/// A command under way.
struct Asked {
    child: Running,
    said: Hearing,
    limits: ProofLimits,
}

impl Asked {
    fn await_end(mut self, tell: &mut dyn FnMut(&str)) -> Ended {
        let begun = Stopwatch::start();
        let status = loop {
            let ended = self.child.ended();
            // What it said before its end is heard in any case.
            self.said.hear(tell);
            match ended {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(error) => return Ended::Unable(error.to_string()),
            }
            if begun.elapsed() >= self.limits.time {
                return Ended::Cut(self.too_slow());
            }
            // For memory that the limit of the process does not count.
            if self.child.resident_bytes().is_some_and(|bytes| bytes > self.limits.memory_bytes) {
                return Ended::Cut(self.too_large());
            }
            std::thread::sleep(LOOK_EVERY);
        };
        self.ended(status)
    }

    fn ended(self, status: ExitStatus) -> Ended {
        if status.success() {
            return Ended::Done;
        }
        let is_signal = |signal: Signal| status.signal() == Some(signal.as_raw());
        if let (Some(code), Some(message)) = (status.code(), &self.said.failed) {
            let message = explain_memory(message.clone(), &limit_of_memory(self.limits));
            return Ended::Failed { status: u8::try_from(code).unwrap_or(u8::MAX), message };
        }
        if status.code().is_some_and(|code| OWN_FAILURES.contains(&code)) {
            return Ended::Unable(format!("its process ended with {status}: {}", self.said.noise));
        }
        if let Some(words) = &self.said.panicked {
            let step = self.said.step();
            return Ended::Cut(format!("the runtime panics over the graph{step}: {words}"));
        }
        let noise = excerpt(&self.said.noise, WORDS_CHARS_MAX);
        Ended::Cut(if is_signal(Signal::XCPU) {
            self.too_slow()
        } else if ["memory allocation of", "bad_alloc"].iter().any(|words| noise.contains(words)) {
            self.too_large()
        } else if is_signal(Signal::KILL) {
            let step = self.said.step();
            format!("the system killed its process, probably because memory was short{step}")
        } else {
            let step = self.said.step();
            let words = if noise.is_empty() { String::new() } else { format!(": {noise}") };
            format!("the runtime ended its process ({status}){step}{words}")
        })
    }

    fn too_slow(&self) -> String {
        let (seconds, step) = (self.limits.time.as_secs(), self.said.step());
        format!("it takes more than {seconds} s ({SECONDS_OPTION}){step}")
    }

    fn too_large(&self) -> String {
        format!("it takes more memory{}; {}", self.said.step(), limit_of_memory(self.limits))
    }
}

fn limit_of_memory(limits: ProofLimits) -> String {
    format!("it may take {} MiB ({MEMORY_OPTION})", limits.memory_bytes >> 20)
}

/// What a command has said so far.
struct Hearing {
    file: File,
    offset: u64,
    /// A line that has not ended.
    begun: Vec<u8>,
    /// What it told last.
    last: String,
    /// Why it ends.
    failed: Option<String>,
    /// What a panic said.
    panicked: Option<String>,
    /// The last words that were not its own.
    noise: String,
}

impl Hearing {
    fn of(file: File) -> Self {
        let (last, noise) = (String::new(), String::new());
        Self { file, offset: 0, begun: Vec::new(), last, failed: None, panicked: None, noise }
    }

    /// Hears everything that was said meanwhile.
    fn hear(&mut self, tell: &mut dyn FnMut(&str)) {
        let mut bytes = [0; READ_BYTES];
        // The place of the file is that of the writer, so it is read by offsets.
        while let Ok(count @ 1..) = self.file.read_at(&mut bytes, self.offset) {
            self.offset += count as u64;
            for &byte in &bytes[..count] {
                if byte == b'\n' {
                    self.line(tell);
                } else if self.begun.len() < READ_BYTES {
                    self.begun.push(byte);
                }
            }
        }
    }

    fn line(&mut self, tell: &mut dyn FnMut(&str)) {
        let line = std::mem::take(&mut self.begun);
        let said = line.strip_prefix(&[MARK]).and_then(|json| serde_json::from_slice(json).ok());
        match said {
            Some(Said::Told(line)) => {
                tell(&line);
                self.last = line;
            }
            Some(Said::Failed(message)) => self.failed = Some(message),
            Some(Said::Panicked(words)) => self.panicked = Some(words),
            None => {
                let words = excerpt_of_bytes(&line, WORDS_CHARS_MAX);
                if !words.trim().is_empty() {
                    self.noise = words.trim().to_owned();
                }
            }
        }
    }

    fn step(&self) -> String {
        if self.last.is_empty() {
            return String::new();
        }
        format!(", at the step `{}`", excerpt(&self.last, WORDS_CHARS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_says_is_told_apart_from_words_of_the_runtime() {
        let file = memory_file().unwrap();
        let mut said = Hearing::of(file.try_clone().unwrap());
        let mut told = Vec::new();
        let mut hear = |said: &mut Hearing, text: &[u8]| {
            (&file).write_all(text).unwrap();
            let mut lines = Vec::new();
            said.hear(&mut |line| lines.push(line.to_owned()));
            told.push(lines);
        };
        hear(&mut said, b"\x1e{\"told\":\"reading\"}\nterminate called\n  what():  bad_alloc\n\n");
        hear(&mut said, b"\x1e{\"told\":\"run");
        hear(&mut said, b"ning\"}\n\x1enonsense\n");
        assert_eq!(
            (&*said.last, &said.failed, &*said.noise),
            ("running", &None, "\\u{1e}nonsense")
        );
        hear(&mut said, b"\x1e{\"failed\":\"a: b\\n  c\"}\ntickcast: a: b\n");
        assert_eq!(said.failed.as_deref(), Some("a: b\n  c"));
        assert_eq!(told, [vec!["reading"], vec![], vec!["running"], vec![]]);
    }
}
