//! `e2p prepare interactions`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use e2p_data::interactions::{Columns, HoldOut, Interactions, InteractionsOptions};
use e2p_data::{SplitOptions, SplitRule};

use super::shared::Chosen;
use super::split::TimeSplitArgs;

/// `e2p prepare interactions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads events as CSV, TSV, JSON lines or Parquet with columns user, item and perhaps weight, time, text, tags;\n\
    or the directory of Last.fm HetRec 2011."
)]
pub(super) struct InteractionsArgs {
    /// Files to read, of events or of items
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    input: Vec<PathBuf>,
    /// The data directory to write
    #[arg(long, value_name = "DATA")]
    out: PathBuf,
    /// A column's name in the files, such as user=listener_id or weight=plays; may be given several
    /// times
    #[arg(long, value_name = "FIELD=NAME")]
    column: Vec<String>,
    /// Drop users with fewer distinct items
    #[arg(long, default_value_t = 1, value_name = "N")]
    min_user_items: usize,
    /// Drop items with fewer distinct users
    #[arg(long, default_value_t = 1, value_name = "N")]
    min_item_users: usize,
    /// Items that a profile names at most: the latest, or without times those of the largest weight
    #[arg(long, default_value_t = 20, value_name = "N")]
    profile_items: usize,
    /// Items of a history that become training targets at most, the latest
    #[arg(long, default_value_t = 10, value_name = "N")]
    train_targets: usize,
    /// The prompt of every example
    #[arg(long, default_value = "Recommend an artist:", value_name = "TEXT")]
    prompt: String,
    /// The target: {text}, {tags} and {item} are filled in
    #[arg(long, default_value = "{text}", value_name = "TEMPLATE")]
    target: String,
    /// Hold out everything from some time on instead of each user's last items
    #[arg(long, help_heading = "Splits", conflicts_with = "split_by_user")]
    temporal: bool,
    /// Split by user: those of validation and test are not trained on, and one item of each is held
    /// out
    #[arg(long, help_heading = "Splits")]
    split_by_user: bool,
    /// Share of the users for validation with --split-by-user, of the events with --temporal
    #[arg(
        long,
        default_value_t = 0.1,
        value_name = "SHARE",
        help_heading = "Splits"
    )]
    valid: f64,
    /// Share of the users for the test with --split-by-user, of the events with --temporal
    #[arg(
        long,
        default_value_t = 0.1,
        value_name = "SHARE",
        help_heading = "Splits"
    )]
    test: f64,
    #[command(flatten)]
    times: TimeSplitArgs,
}

impl InteractionsArgs {
    pub(super) fn choose(&self) -> anyhow::Result<Chosen<'_>> {
        let by_time = self.times.rule()?;
        let options = InteractionsOptions {
            hold_out: if self.temporal || by_time.is_some() {
                HoldOut::Temporal
            } else {
                HoldOut::LeaveOneOut
            },
            min_user_items: self.min_user_items,
            min_item_users: self.min_item_users,
            train_targets: self.train_targets,
            profile_items: self.profile_items,
            prompt: self.prompt.clone(),
            target: self.target.clone(),
            columns: columns(&self.column)?,
            ..InteractionsOptions::default()
        };
        let rule = match by_time {
            Some(rule) => rule,
            None if self.split_by_user => SplitRule::User,
            None => SplitRule::Source,
        };
        Ok(Chosen {
            source: Box::new(Interactions::new(self.input.clone(), options)),
            out: &self.out,
            split: SplitOptions {
                rule,
                valid: self.valid,
                test: self.test,
                ..SplitOptions::default()
            },
            pseudo_users: 0,
        })
    }
}

fn columns(named: &[String]) -> anyhow::Result<Columns> {
    let mut columns = Columns::default();
    for argument in named {
        let (field, name) = argument
            .split_once('=')
            .with_context(|| format!("`--column {argument}` is not FIELD=NAME"))?;
        let column = match field {
            "user" => &mut columns.user,
            "item" => &mut columns.item,
            "weight" => &mut columns.weight,
            "time" => &mut columns.time,
            "text" => &mut columns.text,
            "tags" => &mut columns.tags,
            _ => anyhow::bail!(
                "`--column` names the field `{field}`, expected user, item, weight, time, text or tags"
            ),
        };
        name.clone_into(column);
    }
    Ok(columns)
}
