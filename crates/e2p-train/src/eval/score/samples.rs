//! The same prompts answered for different users: what a reader looks at first.

use crate::error::Result;
use crate::eval::arms::Condition;
use crate::eval::arms::EvalExample;
use crate::eval::options::EvalOptions;
use crate::eval::score::answers;
use crate::eval::score::catalogue::Catalogue;
use crate::eval::score::trial::Trial;

/// Prompts shown.
const PROMPTS: usize = 4;
/// Users who ask each of them.
const USERS: usize = 3;
/// Recommendations shown in place of an answer.
const RECOMMENDATIONS: usize = 5;

/// Prompts, each with users and their answers.
pub(crate) type Samples = Vec<(String, Vec<(String, String)>)>;

/// Greedy answers, or where there is a catalogue the first recommendations from it.
///
/// # Errors
/// Whatever the generator refuses.
pub(crate) fn samples(
    trial: Trial<'_>,
    catalogue: Option<&Catalogue>,
    options: &EvalOptions,
) -> Result<Samples> {
    let Trial { arms, examples, .. } = trial;
    if options.generate == 0 {
        return Ok(Vec::new());
    }
    let mut users: Vec<usize> = Vec::new();
    for example in examples {
        if users.len() == USERS {
            break;
        }
        if !users.contains(&example.user) {
            users.push(example.user);
        }
    }
    let mut shown: Vec<&EvalExample> = Vec::new();
    let step = (examples.len() / PROMPTS).max(1);
    for example in examples.iter().step_by(step) {
        let is_new = shown.iter().all(|other| other.prompt != example.prompt);
        if is_new && shown.len() < PROMPTS {
            shown.push(example);
        }
    }
    let mut out = Vec::new();
    for example in shown {
        let answers = match catalogue {
            Some(catalogue) => {
                let list = |user: &usize| {
                    let width = options.beam.max(RECOMMENDATIONS);
                    let names = catalogue.recommend(
                        trial,
                        &example.prompt,
                        *user,
                        RECOMMENDATIONS,
                        width,
                    )?;
                    Ok(names.join(" · "))
                };
                users.iter().map(list).collect::<Result<Vec<String>>>()?
            }
            None => {
                let rows: Vec<EvalExample> = users
                    .iter()
                    .map(|user| EvalExample {
                        user: *user,
                        ..example.clone()
                    })
                    .collect();
                let rows: Vec<&EvalExample> = rows.iter().collect();
                answers::answers(trial, Condition::E2p, &rows, options.max_new_tokens, |_| {
                    true
                })?
            }
        };
        let named = users.iter().map(|user| arms.users.id(*user).to_owned());
        out.push((last_words(example), named.zip(answers).collect()));
    }
    Ok(out)
}

/// What a person sees of a prompt: the text, or the last message.
fn last_words(example: &EvalExample) -> String {
    match &example.example.prompt {
        e2p_data::Prompt::Text(text) => text.clone(),
        e2p_data::Prompt::Chat(messages) => messages
            .last()
            .map_or_else(String::new, |message| message.content.clone()),
    }
}
