//! User embeddings in every format, and every way in which a file can be wrong.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use e2p_data::UserEmbeddings;
use e2p_data::embeddings::ElementType;
use half::{bf16, f16};
use tempfile::TempDir;

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn error(path: &Path) -> String {
    UserEmbeddings::open(path).unwrap_err().to_string()
}

/// A safetensors file whose header is whatever a test wants.
fn safetensors(path: &Path, header: &str, data: &[u8], ids: &str) {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    fs::write(path, bytes).unwrap();
    fs::write(UserEmbeddings::ids_path(path), ids).unwrap();
}

fn npy(path: &Path, descr: &str, fortran: bool, shape: &str, data: &[u8], ids: &str) {
    let fortran = if fortran { "True" } else { "False" };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(header.len() as u16).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    fs::write(path, bytes).unwrap();
    fs::write(UserEmbeddings::ids_path(path), ids).unwrap();
}

const VALUES: [f32; 6] = [1.0, 2.0, 3.0, -0.5, 0.25, 8.0];

fn f32_bytes() -> Vec<u8> {
    VALUES
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn assert_is_the_example(embeddings: &UserEmbeddings) {
    assert_eq!((embeddings.len(), embeddings.dim()), (2, 3));
    assert_eq!(embeddings.ids().collect::<Vec<_>>(), ["anna", "björn"]);
    assert_eq!(*embeddings.get("anna").unwrap(), VALUES[..3]);
    assert_eq!(*embeddings.get("björn").unwrap(), VALUES[3..]);
    embeddings.validate().unwrap();
}

#[test]
fn what_is_written_is_read() {
    let directory = directory();
    let path = directory.path().join("deep/users.safetensors");
    let rows = VALUES.chunks(3);
    UserEmbeddings::write(&path, &["anna", "björn"], rows, &[("encoder", "by hand")]).unwrap();
    let embeddings = UserEmbeddings::open(&path).unwrap();
    assert_is_the_example(&embeddings);
    assert!(
        matches!(embeddings.row(0).unwrap(), std::borrow::Cow::Borrowed(_)),
        "rows are aligned, so borrowed"
    );
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        2,
        "no temporary file is left"
    );
}

#[test]
fn every_number_type_is_read() {
    let directory = directory();
    let path = directory.path().join("users.safetensors");
    let cases: [(&str, ElementType, Vec<u8>); 4] = [
        (
            "F64",
            ElementType::F64,
            VALUES
                .iter()
                .flat_map(|v| f64::from(*v).to_le_bytes())
                .collect(),
        ),
        ("F32", ElementType::F32, f32_bytes()),
        (
            "F16",
            ElementType::F16,
            VALUES
                .iter()
                .flat_map(|v| f16::from_f32(*v).to_le_bytes())
                .collect(),
        ),
        (
            "BF16",
            ElementType::Bf16,
            VALUES
                .iter()
                .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
                .collect(),
        ),
    ];
    for (name, element, data) in cases {
        let end = data.len();
        let header = format!(
            r#"{{"embeddings":{{"dtype":"{name}","shape":[2,3],"data_offsets":[0,{end}]}}}}"#
        );
        safetensors(&path, &header, &data, "anna\nbjörn\n");
        let embeddings = UserEmbeddings::open(&path).unwrap();
        assert_eq!(embeddings.element_type(), element);
        assert_is_the_example(&embeddings);
    }
}

#[test]
fn npy_is_read() {
    let directory = directory();
    let path = directory.path().join("users.npy");
    npy(&path, "<f4", false, "(2, 3)", &f32_bytes(), "anna\nbjörn\n");
    assert_is_the_example(&UserEmbeddings::open(&path).unwrap());
    let halves: Vec<u8> = VALUES
        .iter()
        .flat_map(|v| f16::from_f32(*v).to_le_bytes())
        .collect();
    npy(&path, "<f2", false, "(2, 3)", &halves, "anna\r\nbjörn");
    assert_is_the_example(&UserEmbeddings::open(&path).unwrap());

    npy(&path, "<f4", true, "(2, 3)", &f32_bytes(), "anna\nbjörn\n");
    assert!(
        error(&path).contains("found an array in Fortran order"),
        "{}",
        error(&path)
    );
    npy(&path, "<i4", false, "(2, 3)", &f32_bytes(), "anna\nbjörn\n");
    assert!(
        error(&path).contains("found numbers of type `<i4`"),
        "{}",
        error(&path)
    );
    npy(&path, "<f4", false, "(6,)", &f32_bytes(), "anna\nbjörn\n");
    assert!(error(&path).contains("found shape [6]"), "{}", error(&path));
    npy(
        &path,
        "<f4",
        false,
        "(2, 3)",
        &f32_bytes()[..20],
        "anna\nbjörn\n",
    );
    assert!(error(&path).contains("cut off"), "{}", error(&path));
}

#[test]
fn json_lines_are_read() {
    let directory = directory();
    let path = directory.path().join("users.jsonl");
    let line =
        |user: &str, values: &str| format!("{{\"user\": \"{user}\", \"embedding\": [{values}]}}\n");
    fs::write(
        &path,
        line("anna", "1, 2.0, 3") + &line("björn", "-0.5, 0.25, 8e0"),
    )
    .unwrap();
    assert_is_the_example(&UserEmbeddings::open(&path).unwrap());

    fs::write(&path, line("anna", "1, 2") + &line("björn", "1")).unwrap();
    assert!(
        error(&path).contains("row 2: found 1 numbers, expected 2 as in row 1"),
        "{}",
        error(&path)
    );
    fs::write(&path, line("anna", "1, 2") + &line("björn", "1, null")).unwrap();
    assert!(
        error(&path)
            .contains("found nothing at position 2 in `embedding`, expected a list of numbers"),
        "{}",
        error(&path)
    );
    fs::write(&path, line("anna", "1, 2") + &line("anna", "1, 2")).unwrap();
    assert!(
        error(&path).contains("row 2: found id `anna` again, first in row 1"),
        "{}",
        error(&path)
    );
    fs::write(&path, line("anna", "1, 2") + &line("", "1, 2")).unwrap();
    assert!(
        error(&path).contains("row 2: found no id"),
        "{}",
        error(&path)
    );
    fs::write(&path, line("anna", "1, 2") + &line("björn", "1, NaN")).unwrap();
    assert!(error(&path).contains("line 2, column"), "{}", error(&path));
    let cut_off = line("anna", "1, 2") + "{\"user\": \"b";
    fs::write(&path, cut_off).unwrap();
    assert!(error(&path).contains("cut off"), "{}", error(&path));
}

fn write_parquet(path: &Path, schema: &str, users: &[&str], lists: &[&[f32]]) {
    use parquet::data_type::{ByteArray, ByteArrayType, FloatType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    let schema = parquet::schema::parser::parse_message_type(schema).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, schema.into(), WriterProperties::default().into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let ids: Vec<ByteArray> = users.iter().map(|user| ByteArray::from(*user)).collect();
    column
        .typed::<ByteArrayType>()
        .write_batch(&ids, None, None)
        .unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let values: Vec<f32> = lists.concat();
    let repetition: Vec<i16> = lists
        .iter()
        .flat_map(|list| (0..list.len()).map(|i| i16::from(i > 0)))
        .collect();
    let definition = vec![1; values.len()];
    column
        .typed::<FloatType>()
        .write_batch(&values, Some(&definition), Some(&repetition))
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

const PARQUET: &str = "message users { required binary user (UTF8);
    required group embedding (LIST) { repeated group list { required float element; } } }";

#[test]
fn parquet_is_read() {
    let directory = directory();
    let path = directory.path().join("users.parquet");
    write_parquet(
        &path,
        PARQUET,
        &["anna", "björn"],
        &[&VALUES[..3], &VALUES[3..]],
    );
    assert_is_the_example(&UserEmbeddings::open(&path).unwrap());
    write_parquet(
        &path,
        PARQUET,
        &["anna", "björn"],
        &[&VALUES[..3], &[1.0, f32::INFINITY, 2.0]],
    );
    assert!(
        error(&path).contains("row 2: found inf at position 2 of user `björn`"),
        "{}",
        error(&path)
    );
    write_parquet(
        &path,
        &PARQUET.replace("user (UTF8)", "who (UTF8)"),
        &["anna"],
        &[&VALUES[..3]],
    );
    assert!(
        error(&path).contains("found columns `who`, `embedding`"),
        "{}",
        error(&path)
    );
    fs::write(&path, b"PAR1 and then nothing").unwrap();
    assert!(
        error(&path).contains("expected a complete Parquet file"),
        "{}",
        error(&path)
    );
}

fn good(directory: &TempDir) -> PathBuf {
    let path = directory.path().join("users.safetensors");
    UserEmbeddings::write(&path, &["anna", "björn"], VALUES.chunks(3), &[]).unwrap();
    path
}

#[test]
fn files_that_do_not_fit_are_refused() {
    let directory = directory();
    let path = good(&directory);
    let ids = UserEmbeddings::ids_path(&path);

    fs::write(&ids, "anna\n").unwrap();
    assert!(
        error(&path).contains("users.ids.txt`: found 1 ids, expected 2"),
        "{}",
        error(&path)
    );
    fs::write(&ids, "anna\nanna\n").unwrap();
    assert!(
        error(&path).contains("users.ids.txt`, row 2: found id `anna` again"),
        "{}",
        error(&path)
    );
    fs::write(&ids, "anna\n\n").unwrap();
    assert!(
        error(&path).contains("row 2: found no id"),
        "{}",
        error(&path)
    );
    fs::remove_file(&ids).unwrap();
    assert!(error(&path).contains("cannot open"), "{}", error(&path));
    fs::write(&ids, "anna\nbjörn\n").unwrap();

    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(
            error(&path).contains("expected a complete safetensors file"),
            "{length}: {}",
            error(&path)
        );
    }
    let header = r#"{"vectors":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    safetensors(&path, header, &f32_bytes(), "anna\nbjörn\n");
    assert!(
        error(&path).contains("found tensors `vectors`, expected a tensor `embeddings`"),
        "{}",
        error(&path)
    );
    assert!(error(&directory.path().join("users.pkl")).contains("expected a `.safetensors`"));
}

#[test]
fn numbers_that_are_not_finite_are_found_at_their_row() {
    let directory = directory();
    let path = directory.path().join("users.safetensors");
    let mut values = VALUES;
    values[4] = f32::NAN;
    let data: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let header = r#"{"embeddings":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}"#;
    safetensors(&path, header, &data, "anna\nbjörn\n");
    let embeddings = UserEmbeddings::open(&path).unwrap();
    embeddings.get("anna").unwrap();
    for error in [
        embeddings.get("björn").unwrap_err(),
        embeddings.validate().unwrap_err(),
    ] {
        let error = error.to_string();
        assert!(
            error.contains(
                "row 2: found NaN at position 2 of user `björn`, expected finite numbers"
            ),
            "{error}"
        );
    }
    embeddings.statistics().unwrap_err();
    embeddings.statistics_of(["anna"]).unwrap();
}

#[test]
fn an_unknown_user_is_named() {
    let directory = directory();
    let embeddings = UserEmbeddings::open(good(&directory)).unwrap();
    let error = embeddings.get("zoe").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("user `zoe` has no embedding in"),
        "{error}"
    );
    assert!(error.to_string().ends_with("(2 users known)"), "{error}");
    assert!(embeddings.statistics_of(["anna", "zoe"]).is_err());
}

#[test]
fn statistics_are_those_of_the_rows() {
    let directory = directory();
    let path = directory.path().join("users.safetensors");
    let rows: [[f32; 2]; 4] = [[1000.0, 5.0], [1001.0, 5.0], [1003.0, 5.0], [1000.0, 5.0]];
    UserEmbeddings::write(&path, &["a", "b", "c", "d"], rows, &[]).unwrap();
    let embeddings = UserEmbeddings::open(&path).unwrap();
    let all = embeddings.statistics().unwrap();
    assert_eq!(
        (all.count, all.mean.as_slice()),
        (4, [1001.0, 5.0].as_slice())
    );
    assert!(
        (all.std[0] - 1.5_f32.sqrt()).abs() < 1e-6 && all.std[1] == 0.0,
        "{:?}",
        all.std
    );
    let two = embeddings.statistics_of(["a", "c"]).unwrap();
    assert_eq!((two.mean[0], two.std[0]), (1001.5, 1.5));
}

#[test]
fn nothing_is_written_when_the_rows_are_wrong() {
    let directory = directory();
    let path = directory.path().join("users.safetensors");
    let write = |ids: &[&str], rows: &[Vec<f32>]| {
        UserEmbeddings::write(&path, ids, rows, &[])
            .unwrap_err()
            .to_string()
    };
    let message = write(&["a", "b"], &[vec![1.0, 2.0], vec![1.0]]);
    assert!(
        message.contains("row 2: found 1 numbers, expected 2 as in row 1"),
        "{message}"
    );
    let message = write(&["a", "b"], &[vec![1.0], vec![f32::NEG_INFINITY]]);
    assert!(message.contains("row 2: found -inf"), "{message}");
    let message = write(&["a", "b"], &[vec![1.0]]);
    assert!(message.contains("found 1 rows, expected 2"), "{message}");
    let message = write(&["a", "a"], &[vec![1.0], vec![1.0]]);
    assert!(message.contains("row 2: found id `a` again"), "{message}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn ids_that_are_numbers_are_texts_everywhere() {
    let directory = directory();
    let path = directory.path().join("numbers.jsonl");
    fs::write(
        &path,
        "{\"user\": 7, \"embedding\": [1, 2]}\n{\"user\": \"8\", \"embedding\": [3, 4]}\n",
    )
    .unwrap();
    let embeddings = UserEmbeddings::open(&path).unwrap();
    assert_eq!(embeddings.ids().collect::<Vec<_>>(), ["7", "8"]);
    fs::write(&path, "{\"user\": [7], \"embedding\": [1, 2]}\n").unwrap();
    assert!(
        error(&path)
            .contains("found a list in `user`, expected a user id, a text or a whole number"),
        "{}",
        error(&path)
    );
}

#[test]
fn the_space_is_what_the_header_says_or_the_name_of_the_file() {
    let directory = directory();
    let path = directory.path().join("v7.safetensors");
    for (metadata, space) in [
        (&[("space", "als:2:ab")][..], "als:2:ab"),
        (&[], "v7"),
        (&[("space", "")], "v7"),
    ] {
        UserEmbeddings::write(&path, &["anna"], [[1.0, 2.0]], metadata).unwrap();
        assert_eq!(UserEmbeddings::open(&path).unwrap().space(), space);
    }
    let path = directory.path().join("v8.jsonl");
    fs::write(&path, "{\"user\": 7, \"embedding\": [1, 2]}\n").unwrap();
    assert_eq!(UserEmbeddings::open(&path).unwrap().space(), "v8");
}
