//! The rules. Works on descriptors with their source info, so on any proto text.

use std::collections::HashMap;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

// Where the parts of a file lie in it: field numbers of descriptor.proto.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const SERVICES: i32 = 6;
const SYNTAX: i32 = 12;
const MESSAGE_FIELDS: i32 = 2;
const MESSAGE_MESSAGES: i32 = 3;
const MESSAGE_ENUMS: i32 = 4;
const MESSAGE_ONEOFS: i32 = 8;
/// Of an enum, and the methods of a service.
const MEMBERS: i32 = 2;

/// Everything that breaks a rule, as `FILE: KIND NAME: what is wrong`.
pub(super) fn lint(files: &[FileDescriptorProto]) -> Vec<String> {
    let mut found = Vec::new();
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for file in files {
        let methods = file.service.iter().flat_map(|service| &service.method);
        for method in methods {
            *uses.entry(method.input_type()).or_default() += 1;
            *uses.entry(method.output_type()).or_default() += 1;
        }
        found.extend(Linted::new(file).lint());
    }
    for (message, uses) in uses {
        if uses > 1 {
            let message = last(message);
            found.push(format!("message {message}: is used by more than one rpc"));
        }
    }
    found.sort();
    found
}

/// One file, the comments in it, and what was found.
struct Linted<'a> {
    file: &'a FileDescriptorProto,
    /// By the path of what they stand at.
    comments: HashMap<&'a [i32], &'a str>,
    found: Vec<String>,
}

impl<'a> Linted<'a> {
    fn new(file: &'a FileDescriptorProto) -> Self {
        let info = file.source_code_info.as_ref();
        let locations = info.map(|info| info.location.as_slice());
        let locations = locations.unwrap_or_default().iter();
        let comments = locations.map(|at| (at.path.as_slice(), at.leading_comments()));
        Self {
            file,
            comments: comments.collect(),
            found: Vec::new(),
        }
    }

    fn lint(mut self) -> Vec<String> {
        let file = self.file;
        self.placed();
        if !self.has_comment(&[SYNTAX]) {
            self.find("the file", "does not begin with a comment");
        }
        for (i, message) in (0..).zip(&file.message_type) {
            self.message(&[MESSAGES, i], "", message);
        }
        for (i, kind) in (0..).zip(&file.enum_type) {
            self.kind(&[ENUMS, i], "", kind);
        }
        for (i, service) in (0..).zip(&file.service) {
            self.service(&[SERVICES, i], service);
        }
        self.found
    }

    fn find(&mut self, what: &str, wrong: &str) {
        let (file, gap) = (self.file.name(), if what == "the file" { "" } else { ":" });
        self.found.push(format!("{file}: {what}{gap} {wrong}"));
    }

    fn has_comment(&self, path: &[i32]) -> bool {
        let comment = self.comments.get(path);
        comment.is_some_and(|comment| !comment.trim().is_empty())
    }

    fn commented(&mut self, path: &[i32], what: &str) {
        if !self.has_comment(path) {
            self.find(what, "has no comment");
        }
    }

    /// The package says where the file is, and which version of the API it is.
    fn placed(&mut self) {
        let package = self.file.package();
        let folder = self.file.name().rsplit_once('/').map_or("", |(f, _)| f);
        if package.replace('.', "/") != folder {
            let wrong = format!("does not belong in the folder {folder}");
            self.find_package(&wrong);
        }
        let version = last(package).strip_prefix('v');
        if version.is_none_or(|number| number.parse::<u32>().is_err()) {
            self.find_package("has no version");
        }
        let base = self.file.name().rsplit('/').next().unwrap_or_default();
        if !is_snake(base.trim_end_matches(".proto")) {
            self.find("the file", "is not named in snake_case");
        }
    }

    fn find_package(&mut self, wrong: &str) {
        let (file, package) = (self.file.name(), self.file.package());
        self.found
            .push(format!("{file}: package {package} {wrong}"));
    }

    fn message(&mut self, path: &[i32], outer: &str, message: &DescriptorProto) {
        if message.options.as_ref().is_some_and(|it| it.map_entry()) {
            // Made by the compiler for a map.
            return;
        }
        let name = format!("{outer}{}", message.name());
        let what = format!("message {name}");
        self.commented(path, &what);
        if !is_pascal(message.name()) {
            self.find(&what, "is not PascalCase");
        }
        for (i, field) in (0..).zip(&message.field) {
            let what = format!("field {name}.{}", field.name());
            self.commented(&[path, &[MESSAGE_FIELDS, i]].concat(), &what);
            self.snake(&what, field.name());
        }
        // Those of `optional` fields, made by the compiler, come last.
        let optional = message.field.iter().filter(|f| f.proto3_optional()).count();
        let written = message.oneof_decl.len() - optional;
        for (i, oneof) in (0..).zip(&message.oneof_decl[..written]) {
            let what = format!("oneof {name}.{}", oneof.name());
            self.commented(&[path, &[MESSAGE_ONEOFS, i]].concat(), &what);
            self.snake(&what, oneof.name());
        }
        let inside = format!("{name}.");
        for (i, message) in (0..).zip(&message.nested_type) {
            self.message(&[path, &[MESSAGE_MESSAGES, i]].concat(), &inside, message);
        }
        for (i, kind) in (0..).zip(&message.enum_type) {
            self.kind(&[path, &[MESSAGE_ENUMS, i]].concat(), &inside, kind);
        }
    }

    fn snake(&mut self, what: &str, name: &str) {
        if !is_snake(name) {
            self.find(what, "is not snake_case");
        }
    }

    fn kind(&mut self, path: &[i32], outer: &str, kind: &EnumDescriptorProto) {
        let name = format!("{outer}{}", kind.name());
        self.commented(path, &format!("enum {name}"));
        if !is_pascal(kind.name()) {
            self.find(&format!("enum {name}"), "is not PascalCase");
        }
        let prefix = format!("{}_", upper_snake(kind.name()));
        for (i, value) in (0..).zip(&kind.value) {
            let what = format!("enum value {name}.{}", value.name());
            self.commented(&[path, &[MEMBERS, i]].concat(), &what);
            if !value.name().starts_with(&prefix) {
                self.find(&what, &format!("does not begin with {prefix}"));
            }
            if !is_snake(&value.name().to_ascii_lowercase())
                || value.name().contains(|c: char| c.is_ascii_lowercase())
            {
                self.find(&what, "is not UPPER_SNAKE_CASE");
            }
            let zero = format!("{prefix}UNSPECIFIED");
            if value.number() == 0 && value.name() != zero {
                self.find(&what, &format!("the value 0 is not {zero}"));
            }
        }
    }

    fn service(&mut self, path: &[i32], service: &ServiceDescriptorProto) {
        let what = format!("service {}", service.name());
        self.commented(path, &what);
        if !is_pascal(service.name()) {
            self.find(&what, "is not PascalCase");
        }
        if !service.name().ends_with("Service") {
            self.find(&what, "does not end in Service");
        }
        for (i, method) in (0..).zip(&service.method) {
            let what = format!("rpc {}.{}", service.name(), method.name());
            self.commented(&[path, &[MEMBERS, i]].concat(), &what);
            if !is_pascal(method.name()) {
                self.find(&what, "is not PascalCase");
            }
            let sides = [
                ("takes", method.input_type(), "Request"),
                ("answers", method.output_type(), "Response"),
            ];
            for (verb, message, suffix) in sides {
                let (message, expected) = (last(message), format!("{}{suffix}", method.name()));
                if message != expected {
                    self.find(&what, &format!("{verb} {message}, not {expected}"));
                }
            }
        }
    }
}

/// The last part of a dotted name.
fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
}

fn is_snake(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(fits)
        && !name.ends_with('_')
        && !name.contains("__")
}

/// `OrderState` as `ORDER_STATE`.
fn upper_snake(name: &str) -> String {
    let mut text = String::new();
    for (i, c) in name.char_indices() {
        if i > 0 && c.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(c.to_ascii_uppercase());
    }
    text
}
