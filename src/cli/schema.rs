//! `hookline schema`: the SQL that makes the tables of a sink, for whoever owns the database.

use super::error::CliError;
use crate::config::{DataType, Partitions, Shape, Table};
use clap::{Args, ValueEnum};
use std::io::{self, Write as _};

#[derive(Clone, Debug, Args)]
pub(super) struct SchemaArgs {
    /// Of which kind of sink
    #[arg(value_enum, value_name = "TYPE")]
    kind: Kind,
    /// The table, as `table` of the sink names it: NAME or SCHEMA.NAME
    #[arg(long, value_name = "TABLE", default_value = "hookline_events", value_parser = Table::parse)]
    table: Table,
    /// The type of the column `data`
    #[arg(long, value_enum, default_value_t, value_name = "TYPE")]
    data_type: Data,
    /// One partition for each day, made by the sink
    #[arg(long, value_enum, default_value_t, value_name = "BY")]
    partitions: Division,
    /// With the unique index that `unique_ids = true` needs
    #[arg(long)]
    unique_ids: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Postgres,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Data {
    #[default]
    Json,
    Jsonb,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Division {
    #[default]
    None,
    Day,
}

pub(super) fn run(args: &SchemaArgs) -> Result<(), CliError> {
    let Kind::Postgres = args.kind;
    let shape = Shape {
        table: args.table.clone(),
        data: match args.data_type {
            Data::Json => DataType::Json,
            Data::Jsonb => DataType::Jsonb,
        },
        partitions: match args.partitions {
            Division::None => Partitions::None,
            Division::Day => Partitions::Day,
        },
        unique_ids: args.unique_ids,
    };
    if shape.unique_ids && shape.partitions != Partitions::None {
        return Err(CliError::Usage(
            "--unique-ids cannot be had with --partitions: no index over all of them can be unique by the id alone"
                .to_owned(),
        ));
    }
    Ok(io::stdout().write_all(shape.script().as_bytes())?)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  hookline schema postgres | psql crm
  hookline schema postgres --table app.events --partitions day";
