//! A look at the target, which changes nothing.

use super::Options;
use super::connection::{Connection, Notices};
use crate::sink::statistics::Confirmation;
use crate::sink::stream::positioned::Failure;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio_postgres::types::{ToSql, Type};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Of the server.
    pub version: String,
    /// What a commit survives.
    pub confirmation: Confirmation,
    /// Tables that are not there.
    pub missing: Vec<String>,
    /// Tables that the role may not use as the sink does.
    pub forbidden: Vec<String>,
}

/// Connects once, and looks; the error says why that cannot be.
pub fn inspect(options: &Options) -> Result<Inspection, String> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    let found = runtime.block_on(async {
        let timeout = options.timeout.min(PATIENCE);
        let found = tokio::time::timeout(timeout, look(options)).await;
        found.unwrap_or_else(|_| Err(Failure::too_late("a connection and a look at the tables")))
    });
    found.map_err(|failure| std::io::Error::from(failure).to_string())
}

async fn look(options: &Options) -> Result<Inspection, Failure> {
    let connection = Connection::open(options, String::new(), Notices::default()).await?;
    let table = &options.shape.table;
    let (mut missing, mut forbidden) = (Vec::new(), Vec::new());
    let mut version = String::new();
    for (name, rights) in [
        (table.quoted(), "INSERT"),
        (table.position(), "SELECT, INSERT, UPDATE, DELETE"),
        (table.rejected(), "INSERT"),
    ] {
        let mut is_allowed = true;
        for right in rights.split(", ") {
            let row = connection
                .query_one(
                    "SELECT current_setting('server_version'), to_regclass($1) IS NOT NULL, \
                     coalesce(has_table_privilege(to_regclass($1), $2), true)",
                    &[
                        (&name as &(dyn ToSql + Sync), Type::TEXT),
                        (&right, Type::TEXT),
                    ],
                )
                .await?;
            version = row.try_get(0)?;
            if !row.try_get::<_, bool>(1)? {
                missing.push(name.clone());
                break;
            }
            is_allowed &= row.try_get::<_, bool>(2)?;
        }
        if !is_allowed {
            forbidden.push(format!("{name} ({rights})"));
        }
    }
    Ok(Inspection {
        version,
        confirmation: connection.confirmation,
        missing,
        forbidden,
    })
}

const PATIENCE: Duration = Duration::from_secs(10);
