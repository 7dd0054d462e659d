//! What a top-level column is made of.

use parquet::basic::{ConvertedType, LogicalType, Repetition};
use parquet::schema::types::{SchemaDescriptor, Type};

use super::fault::{Outcome, TableFault};

/// A column of the table: one leaf of the file, or several.
#[derive(Debug)]
pub(super) enum Shape {
    /// One value a row.
    Value { leaf: [usize; 1] },
    /// A list of values a row; an element is there from this definition level on.
    List { leaf: [usize; 1], element: i16 },
    /// A list of objects a row, with their members' names.
    Objects {
        leaves: Vec<usize>,
        names: Vec<String>,
        element: i16,
    },
}

impl Shape {
    /// The shape of field number `field`, or what it is instead.
    pub(super) fn of(schema: &SchemaDescriptor, field: usize) -> Outcome<Self> {
        let root = &schema.root_schema().get_fields()[field];
        let leaves: Vec<usize> = (0..schema.num_columns())
            .filter(|&leaf| schema.get_column_root_idx(leaf) == field)
            .collect();
        let other = |found: &str| Err(TableFault::new(found, "values, or a list of values"));
        let own = level(root);
        if root.is_primitive() {
            let &[leaf] = leaves.as_slice() else {
                return other("a column without values");
            };
            return Ok(if is_repeated(root) {
                Self::List {
                    leaf: [leaf],
                    element: own,
                }
            } else {
                Self::Value { leaf: [leaf] }
            });
        }
        if is_map(root) {
            return other("a map");
        }
        let repeated = match root.get_fields() {
            [inner] if is_list(root) && is_repeated(inner) => inner,
            _ if is_repeated(root) => root,
            _ => return other("an object"),
        };
        let element_level = if std::ptr::eq(repeated, root) {
            own
        } else {
            own + 1
        };
        // A group of one field within the list is the list's own; several fields are the element.
        let element = match repeated {
            group if group.is_primitive() => group,
            group => match group.get_fields() {
                [only] if is_list(root) && !is_repeated(only) => only,
                _ => group,
            },
        };
        if element.is_primitive() {
            let &[leaf] = leaves.as_slice() else {
                return other("a list without values");
            };
            return Ok(Self::List {
                leaf: [leaf],
                element: element_level,
            });
        }
        let members = element.get_fields();
        let flat = members
            .iter()
            .all(|member| member.is_primitive() && !is_repeated(member));
        if is_list(element) || is_map(element) || !flat || members.len() != leaves.len() {
            return other("a list of lists, or of objects that hold more than values");
        }
        Ok(Self::Objects {
            leaves,
            names: members
                .iter()
                .map(|member| member.name().to_owned())
                .collect(),
            element: element_level,
        })
    }

    /// Numbers of the file's leaves.
    pub(super) fn leaves(&self) -> &[usize] {
        match self {
            Self::Value { leaf } | Self::List { leaf, .. } => leaf,
            Self::Objects { leaves, .. } => leaves,
        }
    }
}

/// How much a node adds to the definition level.
fn level(node: &Type) -> i16 {
    let info = node.get_basic_info();
    i16::from(info.has_repetition() && info.repetition() != Repetition::REQUIRED)
}

fn is_repeated(node: &Type) -> bool {
    let info = node.get_basic_info();
    info.has_repetition() && info.repetition() == Repetition::REPEATED
}

fn is_list(node: &Type) -> bool {
    let info = node.get_basic_info();
    info.converted_type() == ConvertedType::LIST
        || matches!(info.logical_type_ref(), Some(LogicalType::List))
}

fn is_map(node: &Type) -> bool {
    let info = node.get_basic_info();
    matches!(
        info.converted_type(),
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE
    ) || matches!(info.logical_type_ref(), Some(LogicalType::Map))
}
