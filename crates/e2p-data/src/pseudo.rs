//! Pseudo-users: profiles that say what an answer says.
//!
//! A data set has few users, and a projector learns them by heart. A pseudo-user takes the place of
//! an example's own: one statement of the answer itself, among statements of others. So there are
//! as many users as examples and more, each with something to find in its embedding, and what the
//! projector learns holds for people it has not met. Ours; measured in `docs/RESULTS.md`.

use std::collections::{BTreeSet, HashMap};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::example::{Example, UserRecord};

/// What pseudo-users are made of: the training examples and all profiles.
#[derive(Debug, Default)]
pub(crate) struct PseudoUsers {
    examples: Vec<Example>,
    profiles: HashMap<String, Vec<String>>,
}

impl PseudoUsers {
    /// Remembers a training example, unless its answer is the name of an item, which states
    /// nothing.
    pub(crate) fn example(&mut self, example: &Example) {
        if example.item.is_none() {
            self.examples.push(Example {
                candidates: Vec::new(),
                ..example.clone()
            });
        }
    }

    /// Remembers a user's profile.
    pub(crate) fn user(&mut self, user: &UserRecord) {
        if !user.profile.is_empty() {
            self.profiles
                .insert(user.user.clone(), user.profile.clone());
        }
    }

    /// `rounds` pseudo-users for every training example whose user has a profile and whose answer
    /// states something, each with the example as theirs.
    ///
    /// Their profile is as long as the user's own. One of its texts, in a random place, is a
    /// statement of the answer; each of the others comes with equal chance from the profiles or
    /// from the answers of the training examples, so that nothing of other splits enters.
    pub(crate) fn make(
        &self,
        rounds: u32,
        seed: u64,
    ) -> impl Iterator<Item = (UserRecord, Example)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Sorted, so that the same seed makes the same users.
        let told: BTreeSet<&str> = (self.examples.iter())
            .filter_map(|example| self.profiles.get(&example.user))
            .flatten()
            .map(String::as_str)
            .collect();
        let said: BTreeSet<&str> = (self.examples.iter())
            .flat_map(|example| statements(&example.target))
            .collect();
        let pools: [Vec<&str>; 2] = [told, said].map(|texts| texts.into_iter().collect());
        let examples = (0..rounds)
            .flat_map(|round| (self.examples.iter().enumerate()).map(move |at| (round, at)));
        examples.filter_map(move |(round, (index, example))| {
            let own: Vec<&str> = statements(&example.target).collect();
            let real = self.profiles.get(&example.user)?;
            let statement = own.choose(&mut rng)?;
            let place = rng.random_range(0..real.len());
            let mut text_at = |at| {
                let pool = &pools[usize::from(rng.random::<bool>())];
                let other = pool.choose(&mut rng).expect("an answer and a profile");
                if at == place { *statement } else { *other }.to_owned()
            };
            let user = format!("pseudo-{round}-{index}");
            let record = UserRecord {
                user: user.clone(),
                profile: (0..real.len()).map(&mut text_at).collect(),
                ..UserRecord::default()
            };
            let example = Example {
                user,
                ..example.clone()
            };
            Some((record, example))
        })
    }
}

/// The sentences of `text` that state something: at least three words and no question.
fn statements(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['.', '!', '?'])
        .map(str::trim)
        .filter(|sentence| !sentence.ends_with('?') && sentence.split_whitespace().count() > 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Prompt;

    fn example(user: &str, target: &str) -> Example {
        Example {
            user: user.into(),
            prompt: Prompt::Text("Hi.".into()),
            target: target.into(),
            candidates: vec![target.into()],
            item: None,
        }
    }

    fn user(id: &str, profile: &[&str]) -> UserRecord {
        UserRecord {
            user: id.into(),
            profile: profile.iter().map(|text| (*text).to_owned()).collect(),
            ..UserRecord::default()
        }
    }

    #[test]
    fn statements_are_sentences_that_say_something() {
        let text = "No. I have two dogs! Do you like them? I live in St. Ives";
        let found: Vec<&str> = statements(text).collect();
        assert_eq!(found, ["I have two dogs!", "I live in St."]);
    }

    #[test]
    fn a_made_up_profile_says_what_the_answer_says_and_is_as_long_as_the_real_one() {
        let mut pool = PseudoUsers::default();
        pool.user(&user("a", &["I have dogs.", "I sing."]));
        pool.user(&user("b", &["I paint houses.", "I am tall.", "I ski."]));
        pool.user(&user("stranger", &["Nobody may see this."]));
        pool.user(&user("silent", &[]));
        pool.example(&example("a", "My dogs bark a lot. Do you sing?"));
        pool.example(&example("b", "Is it warm there?"));
        pool.example(&example("b", "I paint them all white."));
        pool.example(&example("silent", "I say so much."));
        pool.example(&Example {
            item: Some("1".into()),
            ..example("b", "The Name of an Item")
        });
        let make = |seed| pool.make(50, seed).collect::<Vec<_>>();
        let made = make(3);
        // Neither the question nor the user without a profile.
        assert_eq!(made.len(), 100);
        for (round, pair) in made.chunks(2).enumerate() {
            for ((record, example), (index, statement, texts)) in pair.iter().zip([
                (0, "My dogs bark a lot.", 2),
                (2, "I paint them all white.", 3),
            ]) {
                assert_eq!(record.user, format!("pseudo-{round}-{index}"));
                assert_eq!(example.user, record.user);
                assert!(example.target.starts_with(statement));
                assert!(example.candidates.is_empty());
                assert_eq!(record.profile.len(), texts);
                assert!(record.profile.iter().any(|text| text == statement));
            }
        }
        let seen: BTreeSet<&str> = (made.iter().flat_map(|(record, _)| &record.profile))
            .map(String::as_str)
            .collect();
        // Everything that training users have or say, and nothing of others.
        assert_eq!(seen.len(), 5 + 3, "{seen:?}");
        assert!(!seen.contains("Nobody may see this."));
        let places: BTreeSet<Option<usize>> = (made.iter())
            .map(|(record, _)| {
                let mut texts = record.profile.iter();
                texts.position(|text| text.starts_with("My dogs") || text.starts_with("I paint t"))
            })
            .collect();
        assert_eq!(places.len(), 3, "each place");
        assert_eq!(made, make(3));
        assert_ne!(made, make(4));
    }
}
