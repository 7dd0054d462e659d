//! A synthetic world small enough for a test.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::path::Path;

use e2p_train::burn::tensor::{DType, Device};
use e2p_train::{Inputs, PretrainRecipe, Recipe, World, WorldSize, pretrain};

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
        DType::F32,
        &Device::default(),
    )
    .unwrap()
}
