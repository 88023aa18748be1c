//! What the stand-ins print. Invariant: a reader that went away is no error, as for the real programs.

use std::io::Write;

/// One line to standard output.
pub fn line(text: &str) {
    drop(writeln!(std::io::stdout().lock(), "{text}"));
}

/// Text to standard output as it is.
pub fn text(text: &str) {
    let mut stdout = std::io::stdout().lock();
    drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// One line to standard error.
pub fn error_line(text: &str) {
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// Text to standard error as it is.
pub fn error_text(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}
