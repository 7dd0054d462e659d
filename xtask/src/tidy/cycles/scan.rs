//! What a source file declares and names, read with `syn`.

use std::collections::BTreeSet;

use anyhow::Result;
use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// One name that a `use` brings into a module.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// The name here; `*` for a glob.
    pub(super) alias: String,
    /// Whether others may take the name from here.
    pub(super) re_export: bool,
    pub(super) line: usize,
}

/// A path in code.
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
}

/// A module of a file: the file itself, or a `mod x { .. }` within it.
#[derive(Default)]
pub(super) struct Module {
    /// Where it stands within the file: empty for the file itself.
    pub(super) inside: Vec<String>,
    /// `mod x;`
    pub(super) children: Vec<String>,
    /// Names of items that it defines.
    pub(super) defines: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    pub(super) mentions: Vec<Mention>,
}

/// The modules of a source file, without its tests.
pub(super) fn modules(text: &str) -> Result<Vec<Module>> {
    let mut reader = Reader {
        open: vec![Module::default()],
        done: Vec::new(),
    };
    reader.visit_file(&syn::parse_file(text)?);
    reader.done.append(&mut reader.open);
    Ok(reader.done)
}

struct Reader {
    /// The modules around the place that is being read, the innermost last.
    open: Vec<Module>,
    done: Vec<Module>,
}

impl Reader {
    fn here(&mut self) -> &mut Module {
        self.open.last_mut().expect("the file's own module is open")
    }

    fn mention(&mut self, path: Vec<String>, span: Span) {
        let line = span.start().line;
        self.here().mentions.push(Mention { path, line });
    }

    /// Paths among the tokens of a macro, which may be no Rust by themselves.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        let mut span = Span::call_site();
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 || path.is_empty() {
                        self.end_of_path(&mut path, span);
                        span = name.span();
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                // `$crate` is `crate`.
                TokenTree::Punct(mark) if mark.as_char() == '$' => {
                    self.end_of_path(&mut path, span);
                }
                TokenTree::Group(group) => {
                    self.end_of_path(&mut path, span);
                    self.tokens(group.stream());
                    colons = 0;
                }
                _ => {
                    self.end_of_path(&mut path, span);
                    colons = 0;
                }
            }
        }
        self.end_of_path(&mut path, span);
    }

    fn end_of_path(&mut self, path: &mut Vec<String>, span: Span) {
        if !path.is_empty() {
            self.mention(std::mem::take(path), span);
        }
    }

    fn import(&mut self, tree: &syn::UseTree, before: &[String], re_export: bool) {
        let mut path = before.to_vec();
        let (name, alias, span) = match tree {
            syn::UseTree::Path(step) => {
                path.push(step.ident.to_string());
                return self.import(&step.tree, &path, re_export);
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, re_export);
                }
                return;
            }
            syn::UseTree::Name(name) => (&name.ident, name.ident.to_string(), name.ident.span()),
            syn::UseTree::Rename(name) => (&name.ident, name.rename.to_string(), name.ident.span()),
            syn::UseTree::Glob(star) => {
                let line = star.star_token.spans[0].start().line;
                let alias = "*".to_owned();
                return self.here().imports.push(Import {
                    path,
                    alias,
                    re_export,
                    line,
                });
            }
        };
        // `a::{self}` is `a`.
        let alias = if name == "self" && !path.is_empty() {
            let own = path.last().cloned().unwrap_or_default();
            if alias == "self" { own } else { alias }
        } else {
            path.push(name.to_string());
            alias
        };
        let line = span.start().line;
        self.here().imports.push(Import {
            path,
            alias,
            re_export,
            line,
        });
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Union(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Mod(item) => (&item.attrs, None),
            syn::Item::Use(item) => (&item.attrs, None),
            _ => return visit::visit_item(self, item),
        };
        if attributes.iter().any(is_for_tests) {
            return;
        }
        if let Some(name) = name {
            self.here().defines.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let name = item.ident.to_string();
        let Some((_, items)) = &item.content else {
            return self.here().children.push(name);
        };
        let mut inside = self.here().inside.clone();
        inside.push(name);
        self.open.push(Module {
            inside,
            ..Module::default()
        });
        items.iter().for_each(|item| self.visit_item(item));
        self.done.extend(self.open.pop());
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let re_export = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &[], re_export);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|s| s.ident.to_string()).collect();
        let first = path.segments.first().map(|s| s.ident.span());
        self.mention(names, first.unwrap_or_else(Span::call_site));
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        visit::visit_macro(self, mac);
        self.tokens(mac.tokens.clone());
    }

    // Documentation, derives and `pub(in ..)` need no other file.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

/// `#[cfg(test)]` and `#[cfg(all(test, ..))]`.
fn is_for_tests(attribute: &syn::Attribute) -> bool {
    fn names_test(tokens: TokenStream) -> bool {
        let mut negated = false;
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(name) => {
                negated = name == "not";
                name == "test"
            }
            TokenTree::Group(group) => !negated && names_test(group.stream()),
            _ => false,
        })
    }
    attribute.path().is_ident("cfg")
        && attribute
            .meta
            .require_list()
            .is_ok_and(|list| names_test(list.tokens.clone()))
}
