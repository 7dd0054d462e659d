//! Prompts and targets with names in braces.

/// Fills in all names at once, so that a name within a value stays as it is.
pub(crate) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((name, value)) = values.iter().find(|(name, _)| rest.starts_with(name)) {
            out.push_str(value);
            rest = &rest[name.len()..];
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_once() {
        let values = [("{text}", "a {tags} b"), ("{tags}", "rock")];
        assert_eq!(
            fill("{text}: {tags} {no} {", &values),
            "a {tags} b: rock {no} {"
        );
    }
}
