//! A synthetic world: users with tastes that their embeddings encode and their texts show.
//!
//! Everybody is asked the same questions; what they answer depends on a hidden taste vector. An
//! embedding is a noisy linear picture of that vector, as a recommender would deliver it. A
//! backbone trained on the answers of *other* people knows how answers look and which are common,
//! but not who is asking. So whatever `e2p` gains on people it never saw comes from their
//! embeddings, and must vanish when they are swapped.

use std::path::Path;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::data_dir::{DataDir, DatasetInfo};
use crate::embeddings::UserEmbeddings;
use crate::error::Result;
use crate::example::{Example, Message, Prompt, Split, UserRecord};
use crate::normal::normal;
use crate::writer::{DataDirWriter, Overwrite};

/// Dimensions of the hidden taste.
const TASTE: usize = 3;
/// Dimensions of a user embedding.
pub const D_USER: usize = 24;
/// How strongly taste decides an answer: at 0 all answers are equally likely.
const DECISIVENESS: f32 = 2.5;
/// Standard deviation of the noise on an embedding, whose signal has about 1.
const NOISE: f32 = 0.3;

/// A question with its possible answers.
struct Topic {
    questions: [&'static str; 3],
    answers: [&'static str; 6],
}

const TOPICS: [Topic; 6] = [
    Topic {
        questions: [
            "What should I cook tonight?",
            "I am hungry, any idea?",
            "What is a good dinner?",
        ],
        answers: [
            "spicy ramen",
            "mushroom risotto",
            "grilled salmon",
            "lentil curry",
            "a cheese burger",
            "a green salad",
        ],
    },
    Topic {
        questions: [
            "What should I listen to?",
            "Which music fits this evening?",
            "Play something for me.",
        ],
        answers: [
            "slow jazz",
            "heavy metal",
            "piano sonatas",
            "old country songs",
            "deep house",
            "indie folk",
        ],
    },
    Topic {
        questions: [
            "What can I do this weekend?",
            "I have a free day, what now?",
            "Any plan for Saturday?",
        ],
        answers: [
            "a mountain hike",
            "the art museum",
            "a board game night",
            "a long bike ride",
            "the football match",
            "a day in bed",
        ],
    },
    Topic {
        questions: [
            "Which book should I read?",
            "I need a new book.",
            "What is worth reading?",
        ],
        answers: [
            "a crime novel",
            "a space opera",
            "a history of Rome",
            "love poems",
            "a travel diary",
            "a book on bees",
        ],
    },
    Topic {
        questions: [
            "Where should I travel?",
            "Which place should I see next?",
            "I want to go away, where to?",
        ],
        answers: [
            "Iceland",
            "Lisbon",
            "Kyoto",
            "the Sahara",
            "New York",
            "a quiet lake",
        ],
    },
    Topic {
        questions: [
            "Which drink would you bring me?",
            "What should I drink?",
            "I am thirsty.",
        ],
        answers: [
            "black coffee",
            "green tea",
            "a dark beer",
            "orange juice",
            "red wine",
            "plain water",
        ],
    },
];

const FRAMES: [&str; 3] = ["I would go for {}.", "Try {}.", "How about {}?"];

/// How many people and questions there are. Preferred variable name: `size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldSize {
    /// People whose answers train the backbone and who never appear again.
    pub population: usize,
    /// Users to learn from, to choose with, to report on.
    pub users: [usize; 3],
    /// Questions put to each.
    pub questions: usize,
}

impl Default for WorldSize {
    fn default() -> Self {
        Self {
            population: 1000,
            users: [600, 60, 200],
            questions: 8,
        }
    }
}

/// The world: everything follows from the seed. Preferred variable name: `world`.
pub struct World {
    rng: ChaCha8Rng,
    /// What each answer of each topic appeals to.
    appeal: Vec<[[f32; TASTE]; 6]>,
    /// From taste to embedding, `[D_USER][TASTE]`.
    picture: Vec<[f32; TASTE]>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let appeal = TOPICS
            .iter()
            .map(|_| std::array::from_fn(|_| taste(&mut rng)))
            .collect();
        let picture = (0..D_USER)
            .map(|_| taste(&mut rng).map(|value| value / (TASTE as f32).sqrt()))
            .collect();
        Self {
            rng,
            appeal,
            picture,
        }
    }

    /// Conversations of `n_people` people who are not users, the text a backbone is trained on:
    /// what some of them like, then questions and answers. From it a backbone learns that people
    /// have tastes that go together, and nothing about the users.
    pub fn population_text(&mut self, n_people: usize, n_questions: usize) -> Vec<String> {
        (0..n_people)
            .map(|_| {
                let person = taste(&mut self.rng);
                let mut likes = self.likes(&person);
                likes.shuffle(&mut self.rng);
                likes.truncate(self.rng.random_range(0..=TOPICS.len()));
                let mut text = String::new();
                if !likes.is_empty() {
                    text = likes.join(" ") + "\n";
                }
                let turns: Vec<String> = (0..n_questions)
                    .map(|_| self.ask(&person))
                    .map(|(question, answer)| format!("User: {question}\nBot: {answer}"))
                    .collect();
                text + &turns.join("<|endoftext|>\n")
            })
            .collect()
    }

    /// What a person would say about themselves, a sentence for each topic.
    fn likes(&self, person: &[f32; TASTE]) -> Vec<String> {
        (0..TOPICS.len())
            .map(|topic| {
                let favourite = self.favourite(topic, person);
                format!("I like {}.", TOPICS[topic].answers[favourite])
            })
            .collect()
    }

    /// Writes a data directory and the user embeddings (`users.safetensors` beside it), users of
    /// the three splits being different people.
    ///
    /// # Errors
    /// An unwritable place.
    pub fn write(&mut self, size: WorldSize, data: &Path, users: &Path) -> Result<DataDir> {
        let mut writer = DataDirWriter::create(data, Overwrite::Replace)?;
        let (mut ids, mut rows) = (Vec::new(), Vec::new());
        for (split, n_users) in Split::ALL.into_iter().zip(size.users) {
            for number in 0..n_users {
                let id = format!("{split}-{number:04}");
                let person = taste(&mut self.rng);
                for _ in 0..size.questions {
                    let (question, answer) = self.ask(&person);
                    let example = Example {
                        user: id.clone(),
                        prompt: Prompt::Chat(vec![Message::user(question)]),
                        target: answer,
                        candidates: Vec::new(),
                        item: None,
                    };
                    writer.example(split, &example)?;
                }
                writer.user(&UserRecord {
                    user: id.clone(),
                    profile: self.likes(&person),
                    ..UserRecord::default()
                })?;
                rows.push(self.embedding(&person));
                ids.push(id);
            }
        }
        UserEmbeddings::write(users, &ids, rows, &[("space", "synthetic-v1")])?;
        let info = DatasetInfo {
            name: "Synthetic world".into(),
            task: "synthetic".into(),
            licence: "none needed: generated".into(),
            citation: "generated by `e2p quickstart`".into(),
            ..DatasetInfo::default()
        };
        writer.finish(info)
    }

    /// A random question and this person's answer.
    fn ask(&mut self, person: &[f32; TASTE]) -> (String, String) {
        let topic = self.rng.random_range(0..TOPICS.len());
        let question = TOPICS[topic].questions[self.rng.random_range(0..3)];
        let answer = TOPICS[topic].answers[self.choice(topic, person)];
        let frame = FRAMES[self.rng.random_range(0..FRAMES.len())];
        (question.to_owned(), frame.replace("{}", answer))
    }

    fn choice(&mut self, topic: usize, person: &[f32; TASTE]) -> usize {
        let weights: Vec<f32> = self.pull(topic, person).into_iter().map(f32::exp).collect();
        let mut rest = self.rng.random::<f32>() * weights.iter().sum::<f32>();
        for (answer, weight) in weights.iter().enumerate() {
            rest -= weight;
            if rest < 0.0 {
                return answer;
            }
        }
        weights.len() - 1
    }

    fn favourite(&self, topic: usize, person: &[f32; TASTE]) -> usize {
        let pull = self.pull(topic, person);
        (0..pull.len())
            .max_by(|a, b| pull[*a].total_cmp(&pull[*b]))
            .unwrap_or(0)
    }

    fn pull(&self, topic: usize, person: &[f32; TASTE]) -> [f32; 6] {
        self.appeal[topic]
            .map(|appeal| DECISIVENESS * appeal.iter().zip(person).map(|(a, b)| a * b).sum::<f32>())
    }

    fn embedding(&mut self, person: &[f32; TASTE]) -> Vec<f32> {
        let rng = &mut self.rng;
        self.picture
            .iter()
            .map(|row| {
                row.iter().zip(person).map(|(a, b)| a * b).sum::<f32>() + NOISE * normal(rng)
            })
            .collect()
    }
}

fn taste(rng: &mut ChaCha8Rng) -> [f32; TASTE] {
    std::array::from_fn(|_| normal(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_follows_from_its_seed_and_splits_are_different_people() {
        let dir = tempfile::tempdir().unwrap();
        let size = WorldSize {
            population: 3,
            users: [5, 2, 3],
            questions: 4,
        };
        let write = |seed: u64, name: &str| {
            let mut world = World::new(seed);
            let text = world.population_text(size.population, size.questions);
            let data = world
                .write(
                    size,
                    &dir.path().join(name),
                    &dir.path().join(format!("{name}.safetensors")),
                )
                .unwrap();
            let examples: Vec<Example> = data
                .examples(Split::Train)
                .unwrap()
                .map(|example| example.unwrap())
                .collect();
            (text, examples)
        };
        let (first, again, other) = (write(1, "a"), write(1, "b"), write(2, "c"));
        assert_eq!(first, again);
        assert_ne!(first, other);
        assert_eq!((first.0.len(), first.1.len()), (3, 20));
        let users = UserEmbeddings::open(dir.path().join("a.safetensors")).unwrap();
        assert_eq!((users.len(), users.dim()), (10, D_USER));
    }
}
