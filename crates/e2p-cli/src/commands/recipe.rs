//! `e2p recipe`: lists, shows and checks training recipes.

use clap::{Args, Subcommand};
use e2p_train::{Recipe, SHIPPED, TrainError};
use serde_json::json;

use crate::output::Output;
use crate::report::Outcome;

/// `e2p recipe`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecipeCommand {
    /// List the shipped recipes
    List,
    /// Print the resolved recipe as TOML, with every key
    Show(RecipeArgs),
    /// Say whether a recipe can be used, with every problem at once
    Check(RecipeArgs),
    /// Print the JSON Schema of a recipe, for editors: every key with its default and what it does
    Schema,
}

/// `e2p recipe show` and `check`.
#[derive(Debug, Args)]
pub(crate) struct RecipeArgs {
    /// A shipped recipe or a TOML file
    pub(crate) recipe: String,
    /// Change a value, such as optim.lr=3e-4; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Answers the question.
pub(crate) fn run(command: &RecipeCommand, output: &mut Output) -> anyhow::Result<Outcome> {
    let outcome = match command {
        RecipeCommand::List => list(output)?,
        RecipeCommand::Show(args) => {
            let recipe = Recipe::load(&args.recipe, &args.set)?;
            if output.is_json() {
                output.json_line(&recipe)?;
            } else {
                output.text(&recipe.to_toml())?;
            }
            Outcome::Done
        }
        RecipeCommand::Schema => {
            let schema = Recipe::schema();
            if output.is_json() {
                output.json_line(&schema)?;
            } else {
                output.line(&format!("{schema:#}"))?;
            }
            Outcome::Done
        }
        RecipeCommand::Check(args) => match Recipe::load(&args.recipe, &args.set) {
            Ok(_) => answer(output, &[])?,
            Err(TrainError::Recipe { problems, .. }) => answer(output, &problems)?,
            Err(error) => return Err(error.into()),
        },
    };
    output.flush()?;
    Ok(outcome)
}

/// Name and first line of comment of each shipped recipe.
fn list(output: &mut Output) -> anyhow::Result<Outcome> {
    let about = |text: &str| {
        let line = text.lines().next().unwrap_or_default();
        line.trim_start_matches("# ").to_owned()
    };
    if output.is_json() {
        let all: Vec<_> = SHIPPED
            .iter()
            .map(|(name, text)| json!({"name": name, "about": about(text)}))
            .collect();
        output.json_line(&all)?;
    } else {
        for (name, text) in SHIPPED {
            output.line(&format!("{name:<16}{}", about(text)))?;
        }
    }
    Ok(Outcome::Done)
}

fn answer(output: &mut Output, problems: &[String]) -> anyhow::Result<Outcome> {
    if output.is_json() {
        output.json_line(&json!({"ok": problems.is_empty(), "problems": problems}))?;
    } else if problems.is_empty() {
        output.line("ok")?;
    } else {
        for problem in problems {
            output.line(problem)?;
        }
    }
    Ok(if problems.is_empty() {
        Outcome::Done
    } else {
        Outcome::No
    })
}
