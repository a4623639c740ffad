//! `tickcast map --rest`: what a venue makes of a saved answer to a question for history.
//!
//! Owns the lines that are printed. Promises to read the answer as the daemon does. Never asks
//! anyone.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use crate::adapters::websocket::WebSocketSettings;
use crate::core::domain::Symbol;
use crate::engine::files::read_regular_file;
use crate::ops::exit::{Exit, Failure};

/// Writes the native ticks of the answer in a file, and tells what it leaves out.
pub(super) fn show(settings: &WebSocketSettings, symbol: &str, input: &Path) -> Result<(), Exit> {
    let Some(rest) = settings.venue.rest() else {
        let why = "source.rest.url is empty: the venue has no history";
        return Err(Exit::new(Failure::Configuration, why));
    };
    Symbol::check(symbol).map_err(Exit::while_doing(Failure::Usage, "--rest"))?;
    let bytes_max = settings.dial.message_bytes_max;
    let doing = format!("read `{}`", input.display());
    let body = match input == Path::new("-") {
        true => read_input(bytes_max).map_err(Exit::while_doing(Failure::Data, doing))?,
        false => {
            read_regular_file(input, bytes_max).map_err(Exit::while_doing(Failure::Data, doing))?
        }
    };
    let answer = rest.read(&body, symbol).map_err(Exit::because(Failure::Data))?;
    let mut rows = answer.rows;
    rows.sort_by_key(|row| row.time);
    let mut output = BufWriter::new(io::stdout().lock());
    let mut written = Ok(());
    for row in rows.iter().filter(|row| !row.is_empty) {
        written = written
            .and_then(|()| output.write_all(&row.record))
            .and_then(|()| output.write_all(b"\n"));
    }
    match written.and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
        written => written.map_err(Exit::while_doing(Failure::Temporary, "write ticks"))?,
    }
    let empty = rows.iter().filter(|row| row.is_empty).count();
    let (count, bad) = (rows.len(), answer.bad);
    tell!("{count} rows, {empty} of them without volume and left out; {bad} more cannot be used");
    if let Some(why) = answer.why {
        tell!("the first of those: {why}");
    }
    if answer.cursor.is_some() {
        tell!("the answer names a next page");
    }
    Ok(())
}

/// All of standard input, which may not be larger than an answer.
fn read_input(bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    io::stdin().lock().take(bytes_max as u64 + 1).read_to_end(&mut body)?;
    if body.len() > bytes_max {
        let why = format!("is larger than source.message_bytes_max = {bytes_max}");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(body)
}
