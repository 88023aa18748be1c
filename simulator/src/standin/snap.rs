//! The `snap` of a light machine.
use std::process::ExitCode;
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
