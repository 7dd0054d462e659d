//! A synthetic world small enough for a test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

pub mod evaluation;

use std::path::{Path, PathBuf};

use e2p_data::world::{World, WorldSize};
use e2p_data::{
    DataDirWriter, DatasetInfo, Example, ItemRecord, Overwrite, Prompt, Split, UserEmbeddings,
    UserRecord,
};
use e2p_model::LoadOptions;
use e2p_train::burn::tensor::Device;
use e2p_train::{Inputs, PretrainRecipe, Recipe, Silent, Start, pretrain, train};

/// How the world of a test is made.
pub struct Small {
    pub size: WorldSize,
    pub pretraining: PretrainRecipe,
}

impl Small {
    /// Nothing is learned, everything runs.
    pub fn tiny() -> Self {
        Self {
            size: WorldSize {
                population: 20,
                users: [12, 4, 4],
                questions: 3,
            },
            pretraining: PretrainRecipe {
                vocab_size: 300,
                d_model: 16,
                n_layers: 2,
                n_heads: 2,
                n_kv_heads: 1,
                d_ff: 32,
                max_seq_len: 160,
                window: 32,
                batch_size: 2,
                steps: 3,
                ..PretrainRecipe::default()
            },
        }
    }

    /// Writes backbone, data and users into `dir`; the recipe names them.
    pub fn write(&self, dir: &Path, overrides: &[&str]) -> Recipe {
        let mut world = World::new(3);
        let text = world.population_text(self.size.population, self.size.questions);
        let place = |name: &str| dir.join(name);
        world
            .write(self.size, &place("data"), &place("users.safetensors"))
            .unwrap();
        let backbone = place("backbone");
        pretrain(
            &self.pretraining,
            &text,
            &backbone,
            &Device::default(),
            |_| true,
        )
        .unwrap();
        let mut all = vec![
            format!("backbone={}", backbone.display()),
            format!("data={}", place("data").display()),
            format!("users={}", place("users.safetensors").display()),
        ];
        all.extend(overrides.iter().map(ToString::to_string));
        Recipe::load("synthetic", &all).unwrap()
    }
}

/// Everything the recipe names, opened on the CPU in f32.
pub fn open(recipe: &Recipe) -> Inputs {
    Inputs::open(
        recipe,
        Path::new(&recipe.backbone),
        &LoadOptions::default(),
        &Device::default(),
    )
    .unwrap()
}

/// A hand-written data directory, with a random embedding for each of its users and the tiny
/// backbone beside it.
pub struct Written {
    pub task: &'static str,
    pub users: Vec<UserRecord>,
    pub examples: Vec<(Split, Example)>,
    pub items: Vec<ItemRecord>,
}

impl Written {
    /// Trains a few steps on it and opens the run; `overrides` go into the recipe.
    pub fn run(&self, dir: &Path, overrides: &[&str]) -> (PathBuf, Inputs) {
        let data = dir.join(format!("data-{}", self.task));
        let mut writer = DataDirWriter::create(&data, Overwrite::Replace).unwrap();
        for (split, example) in &self.examples {
            writer.example(*split, example).unwrap();
        }
        for user in &self.users {
            writer.user(user).unwrap();
        }
        for item in &self.items {
            writer.item(item).unwrap();
        }
        writer
            .finish(DatasetInfo {
                name: format!("{}, by hand", self.task),
                task: self.task.into(),
                ..DatasetInfo::default()
            })
            .unwrap();
        let ids: Vec<&str> = self.users.iter().map(|user| user.user.as_str()).collect();
        let rows: Vec<Vec<f32>> = (0..ids.len())
            .map(|user| {
                (0..6)
                    .map(|at| ((user * 7 + at * 3) as f32).sin())
                    .collect()
            })
            .collect();
        let users = dir.join("made.safetensors");
        UserEmbeddings::write(&users, &ids, &rows, &[]).unwrap();

        let world = dir.join("world");
        let recipe = Small::tiny().write(&world, &[]);
        let mut all = vec![
            format!("backbone={}", recipe.backbone),
            format!("data={}", data.display()),
            format!("users={}", users.display()),
            "train.max_steps=3".into(),
            "optim.lr=0.05".into(),
        ];
        all.extend(overrides.iter().map(ToString::to_string));
        let recipe = Recipe::load("synthetic", &all).unwrap();
        let inputs = open(&recipe);
        let run = dir.join(format!("run-{}", self.task));
        train(&recipe, &inputs, &run, Start::Force, &mut Silent).unwrap();
        (run, inputs)
    }
}

/// A user without a history.
pub fn user(id: &str, profile: &[&str]) -> UserRecord {
    UserRecord {
        user: id.into(),
        profile: profile.iter().map(ToString::to_string).collect(),
        ..UserRecord::default()
    }
}

/// An example from plain text.
pub fn example(user: &str, prompt: &str, target: &str, candidates: &[&str]) -> Example {
    Example {
        user: user.into(),
        prompt: Prompt::Text(prompt.into()),
        target: target.into(),
        candidates: candidates.iter().map(ToString::to_string).collect(),
        item: None,
    }
}
