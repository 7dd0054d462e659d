//! Who decides where an example goes.

use anyhow::Context;
use clap::Args;
use e2p_data::{SplitOptions, SplitRule, parse_time};

/// Splits of a source that has files of one split, and times.
#[derive(Debug, Args)]
#[command(next_help_heading = "Splits")]
pub(super) struct SplitArgs {
    #[command(flatten)]
    users: UserSplitArgs,
    #[command(flatten)]
    times: TimeSplitArgs,
}

/// Splits of a source that has files of one split, and no times.
#[derive(Debug, Args)]
#[command(next_help_heading = "Splits")]
pub(super) struct UserSplitArgs {
    /// Split by user, whatever the source says
    #[arg(long)]
    split_by_user: bool,
    /// Share of the users for validation, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    valid: f64,
    /// Share of the users for the test, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    test: f64,
    /// Share of the users of a given training file that go to validation instead
    #[arg(
        long,
        default_value_t = 0.0,
        value_name = "SHARE",
        conflicts_with = "split_by_user"
    )]
    valid_from_train: f64,
}

/// Splits by time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Splits")]
pub(super) struct TimeSplitArgs {
    /// Split by time: from here on it is test; a date or a number in the source's own unit
    #[arg(
        long,
        value_name = "TIME",
        conflicts_with_all = ["split_by_user", "valid", "test"]
    )]
    test_from: Option<String>,
    /// With --test-from: from here on it is validation
    #[arg(long, value_name = "TIME", requires = "test_from")]
    valid_from: Option<String>,
}

impl UserSplitArgs {
    pub(super) fn options(&self) -> SplitOptions {
        SplitOptions {
            rule: if self.split_by_user {
                SplitRule::User
            } else {
                SplitRule::Source
            },
            valid: self.valid,
            test: self.test,
            valid_from_train: self.valid_from_train,
            ..SplitOptions::default()
        }
    }
}

impl TimeSplitArgs {
    /// The rule, where a time was given.
    pub(super) fn rule(&self) -> anyhow::Result<Option<SplitRule>> {
        let time = |option: &str, text: &str| {
            parse_time(text).with_context(|| {
                format!(
                    "`{option}` is `{text}`, expected a whole number or a date such as 2024-05-01"
                )
            })
        };
        let Some(test_from) = &self.test_from else {
            return Ok(None);
        };
        let test_from = time("--test-from", test_from)?;
        let valid_from = self.valid_from.as_deref();
        let valid_from = valid_from.map_or(Ok(test_from), |text| time("--valid-from", text))?;
        Ok(Some(SplitRule::Time {
            valid_from,
            test_from,
        }))
    }
}

impl SplitArgs {
    pub(super) fn options(&self) -> anyhow::Result<SplitOptions> {
        let options = self.users.options();
        Ok(SplitOptions {
            rule: self.times.rule()?.unwrap_or(options.rule),
            ..options
        })
    }
}
