//! The environment variables that hold secrets, which programs of others do not inherit.

use std::ffi::{OsStr, OsString};
use std::process::Command;

/// The variables with a secret of the settings. Letters of either case name the same setting.
pub const SECRET_VARIABLES: [&str; 2] =
    ["POINT_TO_POINT__KAFKA__SASL_PASSWORD", "POINT_TO_POINT__PRODUCER_API__TOKEN"];

/// Keeps the variables with secrets from `command`, whichever the case of their letters.
pub fn withhold(command: &mut Command) {
    for name in secret(std::env::vars_os().map(|(name, _)| name)) {
        command.env_remove(name);
    }
}

/// Those of the `names` that are of variables with secrets.
fn secret(names: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let is_secret = |name: &OsStr| SECRET_VARIABLES.iter().any(|secret| name.eq_ignore_ascii_case(secret));
    names.filter(move |name| is_secret(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_secret_in_letters_of_either_case_and_no_other_is() {
        let names = [
            "POINT_TO_POINT__KAFKA__SASL_PASSWORD",
            "POINT_TO_POINT__kafka__sasl_password",
            "POINT_TO_POINT__Producer_API__Token",
            "POINT_TO_POINT__KAFKA__SASL_PASSWORD_FILE",
            "POINT_TO_POINT__KAFKA__SASL_USERNAME",
            "PATH",
        ];
        let found: Vec<OsString> = secret(names.iter().map(OsString::from)).collect();
        assert_eq!(found, names.get(..3).unwrap());
    }
}
