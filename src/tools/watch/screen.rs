//! Where the picture goes.
//!
//! Owns the output and what is drawn on it. Promises to redraw in place with one write, and to
//! leave the terminal as it was. Never decides what is shown.

use std::io::{self, Write};

use super::board::Board;
use super::render::{Ink, Size, line, table};

/// What the output can show.
#[derive(Clone, Copy, Debug)]
pub enum View {
    /// A table, redrawn in place; for terminals.
    Table {
        /// Whether it may be coloured.
        colours: bool,
        /// The terminal's size now, as lines and columns.
        size: fn() -> (u16, u16),
    },
    /// One line a second; for logs.
    Lines,
    /// The records as they come, one a line.
    Json,
}

pub(super) struct Screen<W: Write> {
    output: W,
    view: View,
    /// How many lines of the last picture are above the cursor, and for which size.
    drawn: (usize, (u16, u16)),
}

impl<W: Write> Screen<W> {
    pub(super) fn new(output: W, view: View) -> Self {
        Self { output, view, drawn: (0, (0, 0)) }
    }

    pub(super) fn view(&self) -> View {
        self.view
    }

    /// Shows the state; nothing where records are shown instead.
    pub(super) fn show(&mut self, board: &Board, target: &str) -> io::Result<()> {
        match self.view {
            View::Json => Ok(()),
            View::Lines => {
                writeln!(self.output, "{}", line(board, target))?;
                self.output.flush()
            }
            View::Table { colours, size } => {
                let ink = if colours { Ink::Colours } else { Ink::Plain };
                let now = size();
                let room = Size {
                    columns: usize::from(now.1),
                    // The last line stays free for the cursor, so that nothing scrolls.
                    lines: usize::from(now.0).saturating_sub(1),
                };
                let lines = table(board, target, room, ink);
                self.draw(&lines, now)
            }
        }
    }

    /// One record as it came.
    pub(super) fn record(&mut self, record: &[u8]) -> io::Result<()> {
        self.output.write_all(record)?;
        self.output.write_all(b"\n")
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// Overwrites the last picture line by line and clears only what is left of it, in one write,
    /// so that nothing flickers.
    fn draw(&mut self, lines: &[String], size: (u16, u16)) -> io::Result<()> {
        let (above, before) = self.drawn;
        let mut frame = String::from(if above == 0 { "\x1b[?25l" } else { "" });
        if above > 0 && before != size {
            // The terminal has wrapped what was drawn, so nobody knows where it is.
            frame.push_str("\x1b[2J\x1b[H");
        } else if above > 0 {
            frame.push_str(&format!("\x1b[{above}A\r"));
        }
        for line in lines {
            frame.push_str(line);
            frame.push_str("\x1b[K\n");
        }
        frame.push_str("\x1b[J");
        self.drawn = (lines.len(), size);
        self.output.write_all(frame.as_bytes())?;
        self.output.flush()
    }
}

impl<W: Write> Drop for Screen<W> {
    fn drop(&mut self) {
        if self.drawn.0 > 0 {
            // A terminal that is gone needs no cursor.
            let _ = self.output.write_all(b"\x1b[?25h").and_then(|()| self.output.flush());
        }
    }
}
