//! PENS and MIND on hand-written files with the quirks of the real ones, and PENS on a made-up
//! world.
#![allow(clippy::unwrap_used)]

#[path = "shared/files.rs"]
mod files;

use e2p_data::als::{AlsOptions, InteractionMatrix, factorize};
use e2p_data::mind::{Mind, MindOptions};
use e2p_data::pens::{Pens, PensOptions};
use e2p_data::{Input, PrepareOptions, Prompt, Split, SplitOptions, SplitRule};
use files::{examples, files, fixture, input, prepared, refusal, users};

const NEWS: &str = "News ID\tCategory\tTopic\tHeadline\tNews body\tTitle entity\tEntity content\n\
    N1\tsports\tsoccer\tHome side wins\tThe home side won. It was late, and it rained.\t{\"x\": \"y\"}\t{}\n\
    N2\tfood\tbread\t\"Best \"\"bread\"\" in town\"\t\"She said \"\"yes\"\".\"\t{}\t{}\n\
    N3\tfood\tsoup\tAn article without a body\t\t{}\t{}\n\
    N4\ttravel\tsea\tOne two three four five six seven eight nine ten eleven twelve thirteen, fourteen fifteen sixteen\tBy the sea.\t{}\t{}\n\
    N5\ttravel\tsea\t\"Unbalanced\" quotes\tHe said \"no.\t{}\t{}\r\n";
const HEADER: &str =
    "UserID\tClicknewsID\tdwelltime\texposure_time\tpos\tneg\tstart\tend\tdwelltime_pos\n";
const TRAIN: &str = "U1\tN4 N2 N1\t10 20 30\t6/19/2019 5:10:01 AM#TAB#6/19/2019 5:11:01 AM#TAB#6/19/2019 5:12:01 AM\tN5 N1\tN2\t7/3/2019 6:43:49 PM\t7/3/2019 6:44:00 PM\t34 83\n\
    U2\tN1\t10\t6/19/2019 5:10:01 AM\tN3 N2\tN5\t7/5/2019 6:43:49 PM\t7/5/2019 6:44:00 PM\t34 10\n";
const TEST: &str = "userid\tclicknewsID\tposnewID\trewrite_titles\n\
    NT1\tN1,N2\tN5,N4\t\"My \"\"own\"\" title;;By the sea, at last\"\n\
    NT2\tN1\tN2,N5\t;;He said no\n";

fn pens(more: &[(&str, &str)]) -> (tempfile::TempDir, Vec<Input>) {
    let directory = files(&[&[("news.tsv", NEWS)], more].concat());
    let inputs = vec![Input::new(directory.path())];
    (directory, inputs)
}

fn text(prompt: &Prompt) -> &str {
    match prompt {
        Prompt::Text(text) => text,
        Prompt::Chat(_) => panic!("a text"),
    }
}

#[test]
fn pens_is_read_with_its_quirks() {
    let train = format!("{HEADER}{TRAIN}");
    let (_files, inputs) = pens(&[("train.tsv", &train), ("personalized_test.tsv", TEST)]);
    let source = Pens::new(inputs, PensOptions::default()).unwrap();
    let (_directory, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    let info = data.info();
    assert_eq!((info.task.as_str(), info.counts.items), ("pens", 5));
    assert_eq!(info.notes["articles read"], 5);
    assert_eq!(info.notes["blank headlines left out"], 1);
    assert_eq!(info.notes["articles without a body left out"], 1);
    assert_eq!(info.notes["clicks on articles of the same row left out"], 1);
    assert!(info.licence.contains("Microsoft") && info.use_limits.contains("redistributed"));
    let train = examples(&data, Split::Train);
    let found: Vec<_> = train
        .iter()
        .map(|e| (e.user.as_str(), e.target.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("U1", "\"Unbalanced\" quotes"),
            ("U1", "Home side wins"),
            ("U2", "Best \"bread\" in town"),
        ]
    );
    assert_eq!(text(&train[2].prompt), "She said \"yes\".\n\nHeadline:");
    let test = examples(&data, Split::Test);
    let found: Vec<_> = test
        .iter()
        .map(|e| (e.user.as_str(), e.target.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            ("NT1", "My \"own\" title"),
            ("NT1", "By the sea, at last"),
            ("NT2", "He said no"),
        ]
    );
    // Newest first in the profile, cut at 16 words (a comma counts); oldest first in the history.
    let first = &users(&data)[0];
    assert_eq!(
        first.profile,
        [
            "Best \"bread\" in town",
            "One two three four five six seven eight nine ten eleven twelve thirteen, fourteen fifteen"
        ]
    );
    assert_eq!(first.history, ["N4", "N2"]);
}

#[test]
fn bodies_and_clicks_are_cut() {
    let train = format!("{HEADER}{TRAIN}");
    let (_files, inputs) = pens(&[("train.tsv", &train)]);
    let options = PensOptions {
        body_words: 6,
        clicks: 1,
        targets: 1,
        prompt: "{body} => ".into(),
        ..Default::default()
    };
    let by_time = PrepareOptions {
        split: SplitOptions {
            rule: SplitRule::Time {
                valid_from: e2p_data::parse_time("2019-07-04").unwrap(),
                test_from: e2p_data::parse_time("2019-07-10").unwrap(),
            },
            ..Default::default()
        },
        ..Default::default()
    };
    let source = Pens::new(inputs, options).unwrap();
    let (_directory, data) = prepared(&source, &by_time).unwrap();
    // U2's only target has no body.
    assert_eq!(data.info().counts.train, 1);
    assert_eq!(data.info().counts.valid + data.info().counts.test, 0);
    let example = &examples(&data, Split::Train)[0];
    assert_eq!(text(&example.prompt), "He said \"no. => ");
    assert_eq!(users(&data)[0].history, ["N2"]);
}

#[test]
fn pens_names_what_is_wrong() {
    let train = |row: &str| {
        let train = format!("{HEADER}{row}");
        let (files, inputs) = pens(&[("train.tsv", &train)]);
        let message = refusal(&Pens::new(inputs, PensOptions::default()).unwrap());
        drop(files);
        message
    };
    let cases = [
        (
            "U1\tN9\t1\t\tN1\tN2\t\t\t\n",
            "line 2, column 2 (`ClicknewsID`): found article `N9`, expected ids of `news.tsv`",
        ),
        (
            "U1\tN1\t1\t\tN1 N7\tN2\t\t\t\n",
            "line 2, column 5 (`pos`): found article `N7`",
        ),
        (
            "U1\t \t1\t\tN1\tN2\t\t\t\n",
            "line 2, column 2 (`ClicknewsID`): found no articles, expected at least one id",
        ),
        (
            "\tN1\t1\t\tN2\tN2\t\t\t\n",
            "line 2, column 1 (`UserID`): found nothing, expected an id",
        ),
        (
            "U1\tN1\t1\t\tN2\tN2\tyesterday\t\t\n",
            "line 2, column 7 (`start`): found `yesterday`, expected a time",
        ),
        (
            "U1,N1,1,,N2,N2,,,\n",
            "line 2, column 2 (`ClicknewsID`): found 1 cell, expected 9 cells",
        ),
        (
            "U1\tN1\t1\t\tN2",
            "line 2, column 6 (`neg`): found 5 cells, expected 9 cells",
        ),
    ];
    for (row, expected) in cases {
        let message = train(row);
        assert!(
            message.contains("train.tsv") && message.contains(expected),
            "{message}"
        );
    }
    let (_files, inputs) = pens(&[(
        "personalized_test.tsv",
        "userid\tclicknewsID\tposnewID\trewrite_titles\nNT1\tN1\tN2,N4\tOnly one\n",
    )]);
    let message = refusal(&Pens::new(inputs, PensOptions::default()).unwrap());
    assert!(
        message.contains("line 2, column 4 (`rewrite_titles`): found 1 headlines for 2 articles"),
        "{message}"
    );
    let train = format!("{HEADER}{TRAIN}");
    let twice = format!("{NEWS}N1\ta\tb\tc\td\te\tf\n");
    let directory = files(&[("news.tsv", &twice), ("train.tsv", &train)]);
    let message =
        refusal(&Pens::new(vec![Input::new(directory.path())], PensOptions::default()).unwrap());
    assert!(
        message.contains("news.tsv")
            && message.contains("line 7, column 1 (`News ID`): found article `N1` again"),
        "{message}"
    );
    let directory = files(&[("news.tsv", "id,title\n"), ("train.tsv", &train)]);
    let message =
        refusal(&Pens::new(vec![Input::new(directory.path())], PensOptions::default()).unwrap());
    assert!(message.contains("line 1, column 1: found columns `id,title`, expected a column `News ID` (columns are separated by tabs)"), "{message}");
    let directory = files(&[("train.tsv", &train)]);
    let error =
        Pens::new(vec![input(&directory, "train.tsv")], PensOptions::default()).unwrap_err();
    assert!(error.to_string().contains("expected `news.tsv`"), "{error}");
}

/// The made-up world of `fixtures/generate.py`: the whole way of the real files, with its counts.
#[test]
fn a_world_of_pens_goes_from_files_to_vectors() {
    let inputs = vec![Input::new(fixture("pens_world"))];
    let source = Pens::new(inputs, PensOptions::default()).unwrap();
    let (_directory, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    let counts = data.info().counts;
    assert_eq!((counts.items, counts.users, counts.test), (160, 210, 119));
    assert_eq!(data.info().notes["blank headlines left out"], 1);
    let quoted = &examples(&data, Split::Test)[1].target;
    assert!(
        quoted.starts_with("\"Did you know") && quoted.ends_with("\", they say"),
        "{quoted}"
    );
    for split in Split::ALL {
        for example in examples(&data, split) {
            assert!(text(&example.prompt).ends_with("\n\nHeadline:"));
        }
    }
    // Clicks are what `embed interactions` factorizes.
    let matrix = InteractionMatrix::from_data_dir(&data).unwrap();
    assert_eq!((matrix.users().len(), matrix.items().len()), (210, 160));
    let options = AlsOptions {
        dim: 8,
        iterations: 2,
        ..AlsOptions::default()
    };
    let factors = factorize(&matrix, &options, &mut ()).unwrap();
    assert_eq!(factors.users().len(), 210);
}

const MIND_NEWS: &str = "N1\tnews\tworld\tFirst title\tAn abstract\thttps://x\t[]\t[]\n\
    N2\tnews\tworld\tSecond \"quoted\" title\t\thttps://x\t[]\t[]\n\
    N3\tsports\tgolf\tThird title\tAn abstract\thttps://x\t[{\"a\": 1}]\t[]\n\
    N4\tsports\tgolf\tThird title\tThe same title again\thttps://x\t[]\t[]\n";
const BEHAVIORS: &str = "1\tU1\t11/11/2019 9:05:58 AM\tN1\tN2-0 N3-1 N4-0\n\
    2\tU2\t11/12/2019 6:11:30 PM\t\tN1-1 N2-0\n\
    3\tU3\t11/13/2019 6:11:30 PM\tN1 N2\tN3-1 N1-1 N4-1\n\
    4\tU4\t11/14/2019 6:11:30 PM\tN2\tN3 N4\n";

fn mind(news: &str, behaviors: &str) -> (tempfile::TempDir, Mind) {
    let directory = files(&[
        ("MINDsmall_train/news.tsv", news),
        ("MINDsmall_train/behaviors.tsv", behaviors),
        ("MINDsmall_dev/news.tsv", MIND_NEWS),
        (
            "MINDsmall_dev/behaviors.tsv",
            "9\tU1\t11/15/2019 6:11:30 PM\tN1 N3\tN2-1 N4-0\n",
        ),
    ]);
    let inputs = vec![
        input(&directory, "MINDsmall_train"),
        input(&directory, "MINDsmall_dev"),
    ];
    let source = Mind::new(inputs, MindOptions::default()).unwrap();
    (directory, source)
}

#[test]
fn mind_is_read_with_its_quirks() {
    let (_files, source) = mind(MIND_NEWS, BEHAVIORS);
    let (_directory, data) = prepared(&source, &PrepareOptions::default()).unwrap();
    let info = data.info();
    assert_eq!(
        (info.task.as_str(), info.counts.items, info.counts.users),
        ("mind", 4, 2)
    );
    assert_eq!(info.notes["articles read"], 4);
    assert_eq!(info.notes["impressions read"], 5);
    assert_eq!(
        info.notes["impressions of readers without a history left out"],
        1
    );
    assert_eq!(info.notes["impressions without labels left out"], 1);
    assert_eq!(info.notes["clicks on articles of the history left out"], 1);
    let train = examples(&data, Split::Train);
    // U3 clicked N3 and N4, whose titles are the same text: one example.
    assert_eq!(train.len(), 2);
    assert_eq!(
        (train[0].user.as_str(), train[0].item.as_deref()),
        ("U1", Some("N3"))
    );
    assert_eq!(
        train[0].candidates,
        ["Second \"quoted\" title", "Third title", "Third title"]
    );
    assert_eq!(train[1].candidates, ["Third title"]);
    let valid = examples(&data, Split::Valid);
    assert_eq!(
        (valid.len(), valid[0].target.as_str()),
        (1, "Second \"quoted\" title")
    );
    let users = users(&data);
    // U1's history is that of the first file.
    assert_eq!(users[0].history, ["N1"]);
    assert_eq!(users[1].profile, ["Second \"quoted\" title", "First title"]);
}

#[test]
fn mind_is_split_by_time() {
    let (_files, source) = mind(MIND_NEWS, BEHAVIORS);
    let rule = SplitRule::Time {
        valid_from: e2p_data::parse_time("11/13/2019").unwrap(),
        test_from: e2p_data::parse_time("2019-11-15").unwrap(),
    };
    let split = SplitOptions {
        rule,
        ..Default::default()
    };
    let options = PrepareOptions {
        split,
        ..Default::default()
    };
    let (_directory, data) = prepared(&source, &options).unwrap();
    let items = |split| -> Vec<_> {
        examples(&data, split)
            .into_iter()
            .map(|e| e.item.unwrap())
            .collect()
    };
    assert_eq!(
        (items(Split::Train), items(Split::Valid), items(Split::Test)),
        (vec!["N3".into()], vec!["N3".into()], vec!["N2".into()])
    );
}

#[test]
fn mind_names_what_is_wrong() {
    let cases = [
        (
            MIND_NEWS,
            "1\tU1\t11/11/2019 9:05:58 AM\tN1\tN2-0 N9-1\n",
            "line 1, column 5 (`Impressions`): found article `N9`",
        ),
        (
            MIND_NEWS,
            "1\tU1\t11/11/2019 9:05:58 AM\tN8\tN2-0 N3-1\n",
            "line 1, column 4 (`History`): found article `N8`",
        ),
        (
            MIND_NEWS,
            "1\tU1\t11/11/2019 9:05:58 AM\tN1\tN2-2\n",
            "line 1, column 5 (`Impressions`): found `N2-2`, expected ids that end",
        ),
        (
            MIND_NEWS,
            "1\tU1\t11/11/2019 9:05:58 AM\tN1\t\n",
            "line 1, column 5 (`Impressions`): found no articles",
        ),
        (
            MIND_NEWS,
            "1\tU1\tlater\tN1\tN2-1\n",
            "line 1, column 3 (`Time`): found `later`",
        ),
        (
            MIND_NEWS,
            "1\t\t11/11/2019 9:05:58 AM\tN1\tN2-1\n",
            "line 1, column 2 (`UserID`): found nothing",
        ),
        (
            MIND_NEWS,
            "1,U1,later,N1,N2-1\n",
            "line 1, column 2 (`UserID`): found 1 cell, expected 5 cells",
        ),
        (
            "N1\ta\tb\t\tc\td\te\tf\n",
            BEHAVIORS,
            "line 1, column 4 (`Title`): found nothing",
        ),
        (
            "N1\ta\tb\tT\tc\td\te\tf\nN1\ta\tb\tT\tc\td\te\tf\n",
            BEHAVIORS,
            "line 2, column 1 (`NewsID`): found article `N1` again",
        ),
    ];
    for (news, behaviors, expected) in cases {
        let (_files, source) = mind(news, behaviors);
        let message = refusal(&source);
        assert!(message.contains(expected), "{message}");
    }
    let error = Mind::new(
        vec![Input::new(fixture("pens_world"))],
        MindOptions::default(),
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("expected a directory with `news.tsv` and `behaviors.tsv`"),
        "{error}"
    );
}
