//! The reference pages that follow from code. With `E2P_GENERATE` set (`cargo xtask gen`) they are
//! written, else compared.
#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory};
use e2p_train::{PretrainRecipe, Recipe};
use serde_json::{Map, Value};

use crate::args::Cli;

#[track_caller]
fn check(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs/reference")
        .join(page);
    if std::env::var_os("E2P_GENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/{page} is not what the code says; `cargo xtask gen` writes it anew"
    );
}

#[test]
fn the_pages_of_the_command_line_are_its_help() {
    let mut text =
        "# The command line\n\nGenerated from the code: what `e2p VERB --help` prints.\n"
            .to_owned();
    let mut command = Cli::command().term_width(100).disable_help_subcommand(true);
    command.build();
    add_help(&mut text, &mut command);
    check("cli.md", &text);
}

/// The help of a verb and of those below it; the options that all share stand once, at the top.
fn add_help(text: &mut String, command: &mut Command) {
    let name = command.get_bin_name().unwrap_or("e2p").to_owned();
    let help = command.render_help().to_string();
    let is_top = !name.contains(' ');
    let sections = help
        .split("\n\n")
        .filter(|section| is_top || !section.starts_with("Global options:"));
    let help = sections.collect::<Vec<_>>().join("\n\n");
    let lines: Vec<&str> = help.trim().lines().map(str::trim_end).collect();
    let _ = write!(
        text,
        "\n## `{name}`\n\n```text\n{}\n```\n",
        lines.join("\n")
    );
    for verb in command.get_subcommands_mut() {
        add_help(text, verb);
    }
}

#[test]
fn the_page_of_the_recipe_is_its_schema() {
    let mut text = "# Recipe keys\n\n\
        Generated from the code; `e2p recipe schema` prints the same as JSON Schema, which editors read.\n\
        Defaults are those of a recipe that says nothing; `e2p recipe show NAME` prints a shipped recipe with every key.\n"
        .to_owned();
    text += "\n## Training\n\n`e2p train RECIPE`, overridden with `--set KEY=VALUE`.\n";
    tables(&mut text, &Recipe::schema());
    text += "\n## Pre-training\n\n`e2p pretrain RECIPE`, overridden with `--set KEY=VALUE`.\n";
    tables(&mut text, &PretrainRecipe::schema());
    check("recipe.md", &text);
}

/// A table for the keys of the schema itself and one for each table among them.
fn tables(text: &mut String, schema: &Value) {
    let empty = Map::new();
    let definitions = schema["$defs"].as_object().unwrap_or(&empty);
    let mut nested = Vec::new();
    let properties = schema["properties"].as_object().unwrap();
    table(text, "", properties, definitions, &Value::Null, &mut nested);
    for (name, definition, default) in nested {
        let _ = write!(
            text,
            "\n### `[{name}]`\n\n{}\n",
            definition["description"].as_str().unwrap()
        );
        let properties = definition["properties"].as_object().unwrap();
        table(
            text,
            &format!("{name}."),
            properties,
            definitions,
            default,
            &mut Vec::new(),
        );
    }
}

fn table<'a>(
    text: &mut String,
    path: &str,
    properties: &'a Map<String, Value>,
    definitions: &'a Map<String, Value>,
    defaults: &'a Value,
    nested: &mut Vec<(String, &'a Value, &'a Value)>,
) {
    *text += "\n| key | type | default | meaning |\n|---|---|---|---|\n";
    for (key, property) in properties {
        let definition = property["$ref"].as_str().map_or(property, |name| {
            &definitions[name.trim_start_matches("#/$defs/")]
        });
        let default = defaults.get(key).unwrap_or(&property["default"]);
        if definition["properties"].is_object() {
            nested.push((key.clone(), definition, default));
            continue;
        }
        let kind = match definition["oneOf"].as_array() {
            Some(choices) => choices
                .iter()
                .map(|choice| format!("`{}`", choice["const"].as_str().unwrap()))
                .collect::<Vec<_>>()
                .join(", "),
            None => definition["type"].as_str().unwrap().to_owned(),
        };
        // Fractions are 32 bits wide in the recipe, and their defaults are meant as those print.
        let default = match default.as_f64() {
            Some(value) if default.is_f64() => format!("{:?}", value as f32),
            _ => default.to_string(),
        };
        let meaning = property["description"].as_str().unwrap().replace('\n', " ");
        let _ = writeln!(text, "| `{path}{key}` | {kind} | `{default}` | {meaning} |");
    }
}
