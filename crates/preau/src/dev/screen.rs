//! Where the run is shown while it goes on: a table that stands still on a terminal, and else a line a
//! second on stderr.

use std::io::{IsTerminal as _, Write as _};

use crossterm::cursor::{Hide, Show};
use crossterm::execute;
use crossterm::terminal::{
    DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
};

use super::view::Summary;
use crate::failure::Failure;
use crate::output::Output;
use crate::watch;

/// What is drawn on. Dropping it gives the terminal back as it was.
pub enum Screen {
    Table,
    Lines,
}

impl Screen {
    /// The terminal, where tables go to one.
    pub fn new(output: Output) -> Self {
        let mut stdout = std::io::stdout();
        let live = output == Output::Table && stdout.is_terminal();
        if live && execute!(stdout, EnterAlternateScreen, Hide, DisableLineWrap).is_ok() {
            Self::Table
        } else {
            Self::Lines
        }
    }

    /// Shows how things stand.
    pub fn draw(&self, summary: &Summary) -> Result<(), Failure> {
        match self {
            Self::Table => watch::draw(&summary.table()),
            Self::Lines => {
                // Nobody is told where stderr can't be written.
                let _ = writeln!(std::io::stderr(), "{}", summary.line());
                Ok(())
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if matches!(self, Self::Table) {
            // The process is about to end: there is nobody left to tell.
            let _ = execute!(
                std::io::stdout(),
                EnableLineWrap,
                Show,
                LeaveAlternateScreen
            );
        }
    }
}
