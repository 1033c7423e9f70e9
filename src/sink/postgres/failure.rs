//! What follows from an error of the server.

use crate::log;
use crate::sink::stream::positioned::Failure;
use std::error::Error as _;
use tokio_postgres::error::SqlState;

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Failure {
        let Some(said) = error.as_db_error() else {
            // What stands in the causes is of the connection, never of an event.
            return Failure::Retry(log::with_causes(error.to_string(), error.source()));
        };
        let (code, message) = (said.code(), said.message());
        if is_about_rows(code.code(), said.constraint().is_some()) {
            let reason = format!("{message} (SQLSTATE {})", code.code());
            return Failure::Rows {
                code: code.code().to_owned(),
                reason,
            };
        }
        // The detail would show values of a row.
        let hint = hint(code).unwrap_or_default();
        Failure::Retry(format!("{message} (SQLSTATE {}){hint}", code.code()))
    }
}

/// Data that a type does not take, constraints, limits of an index, and what a trigger raises. Not a value that a
/// column has to have and Hookline does not write, nor a partition that is missing (a check without a name): with those
/// the table takes nothing.
fn is_about_rows(code: &str, has_constraint: bool) -> bool {
    match code {
        "23502" => false,
        "23514" => has_constraint,
        "54000" | "P0001" | "44000" => true,
        _ => code.starts_with("22") || code.starts_with("23"),
    }
}

fn hint(code: &SqlState) -> Option<&'static str> {
    Some(match *code {
        SqlState::UNDEFINED_TABLE | SqlState::INVALID_SCHEMA_NAME => {
            ": make the tables with what `hookline schema postgres` prints, or set create = true for a first try"
        }
        SqlState::UNDEFINED_COLUMN | SqlState::DATATYPE_MISMATCH => {
            ": compare the table with what `hookline schema postgres` prints"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            ": grant the role SELECT, INSERT and UPDATE on the tables that `hookline schema postgres` prints"
        }
        SqlState::CHECK_VIOLATION => ": make the partition, or set partitions = \"day\"",
        SqlState::NOT_NULL_VIOLATION => ": give the column a default, or let it be null",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_a_row_is_set_aside() {
        for (code, has_constraint, is_about) in [
            ("22P05", false, true),
            ("22P02", false, true),
            ("22003", false, true),
            ("23505", true, true),
            ("23514", true, true),
            ("54000", false, true),
            ("P0001", false, true),
            ("23514", false, false),
            ("23502", false, false),
            ("42P01", false, false),
            ("42501", false, false),
            ("40P01", false, false),
            ("53100", false, false),
            ("57014", false, false),
            ("25006", false, false),
        ] {
            assert_eq!(is_about_rows(code, has_constraint), is_about, "{code}");
        }
    }
}
