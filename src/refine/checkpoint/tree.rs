//! What a pickle says, as inert data: values, containers, names of classes, and calls that are never made.
//!
//! Containers live in one arena and refer to each other by index, so shared and even self-containing structures cost
//! nothing and nothing is ever freed by recursion. Strings stay where they are in the input and are named by position.

/// A stretch of the pickle's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) length: u32,
}

/// The index of a node in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub(super) u32);

/// A value of the pickle; cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer wider than 64 bits: two's complement, least byte first.
    Wide(Span),
    Float(f64),
    /// A string; not yet known to be UTF-8.
    Text(Span),
    Bytes(Span),
    Node(NodeId),
}

/// A container or an object.
#[derive(Debug)]
pub(super) enum Node {
    Tuple(Vec<Value>),
    /// A list or a set.
    List(Vec<Value>),
    /// Keys may repeat: the last counts.
    Dict(Vec<(Value, Value)>),
    /// The name of a class or function, not the thing itself.
    Global {
        module: Span,
        name: Span,
    },
    /// A reference to something outside the pickle, such as a storage.
    Persistent(Value),
    Object(Box<Object>),
}

/// A call that was asked for and not made, with what was to be done to its result.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) callable: Value,
    /// The tuple of arguments.
    pub(super) arguments: Value,
    /// Entries set on the result, as in a dict.
    pub(super) items: Vec<(Value, Value)>,
    /// The state given to the result, usually its attributes as a dict.
    pub(super) state: Value,
}

/// A whole pickle.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) input: &'a [u8],
    pub(super) nodes: Vec<Node>,
    pub(super) root: Value,
}

impl<'a> Tree<'a> {
    /// The node behind a value.
    pub(super) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(NodeId(index)) => self.nodes.get(usize::try_from(index).ok()?),
            _ => None,
        }
    }

    /// The bytes of a span.
    pub(super) fn bytes(&self, span: Span) -> &'a [u8] {
        let start = usize::try_from(span.start).unwrap_or(usize::MAX);
        let length = usize::try_from(span.length).unwrap_or(usize::MAX);
        self.input.get(start..).and_then(|rest| rest.get(..length)).unwrap_or_default()
    }

    fn utf8(&self, span: Span) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(span)).ok()
    }

    /// A string that is UTF-8.
    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        match value {
            Value::Text(span) => self.utf8(span),
            _ => None,
        }
    }

    /// An integer of at most 64 bits.
    pub(super) fn integer(&self, value: Value) -> Option<i64> {
        match value {
            Value::Int(integer) => Some(integer),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub(super) fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(elements) | Node::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The object behind a value.
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match self.node(value)? {
            Node::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Module and name of a class or function; also where torch wrapped a class as `('module', class, file, source)`.
    pub(super) fn global(&self, value: Value) -> Option<(&'a str, &'a str)> {
        match self.node(value)? {
            Node::Global { module, name } => Some((self.utf8(*module)?, self.utf8(*name)?)),
            Node::Persistent(id) => match self.sequence(*id)? {
                [kind, class, ..] if self.text(*kind) == Some("module") => match self.node(*class)? {
                    Node::Global { module, name } => Some((self.utf8(*module)?, self.utf8(*name)?)),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Arguments of the call behind an object.
    pub(super) fn arguments(&self, object: &Object) -> &[Value] {
        self.sequence(object.arguments).unwrap_or_default()
    }

    /// The entries of a dict, an `OrderedDict` or any object with entries set on it; `None` for all else.
    pub(super) fn entries(&self, value: Value) -> Option<impl Iterator<Item = (Value, Value)>> {
        let (pairs, items): (&[Value], &[(Value, Value)]) = match self.node(value)? {
            Node::Dict(items) => (&[], items),
            Node::Object(object) if self.is_ordered_dict(object) => (self.initial_pairs(object), &object.items),
            Node::Object(object) if !object.items.is_empty() => (&[], &object.items),
            _ => return None,
        };
        let pairs = pairs.iter().filter_map(|&pair| match self.sequence(pair)? {
            &[key, value] => Some((key, value)),
            _ => None,
        });
        Some(pairs.chain(items.iter().copied()))
    }

    fn is_ordered_dict(&self, object: &Object) -> bool {
        self.global(object.callable) == Some(("collections", "OrderedDict"))
    }

    /// The pairs an `OrderedDict` was called with, as Python 2 wrote them.
    fn initial_pairs(&self, object: &Object) -> &[Value] {
        self.arguments(object).first().and_then(|&pairs| self.sequence(pairs)).unwrap_or_default()
    }

    /// The entry with this key; the last where several have it.
    pub(super) fn get(&self, dict: Value, key: &str) -> Option<Value> {
        self.entries(dict)?.filter(|&(k, _)| self.text(k) == Some(key)).last().map(|(_, value)| value)
    }

    /// What a value is, in a few words for a message.
    pub(super) fn describe(&self, value: Value) -> String {
        match value {
            Value::None => "None".into(),
            Value::Bool(_) => "a truth value".into(),
            Value::Int(_) | Value::Wide(_) => "an integer".into(),
            Value::Float(_) => "a number".into(),
            Value::Text(_) => "a string".into(),
            Value::Bytes(_) => "bytes".into(),
            Value::Node(_) => self.describe_node(value),
        }
    }

    fn describe_node(&self, value: Value) -> String {
        match self.node(value) {
            Some(Node::Tuple(_)) => "a tuple".into(),
            Some(Node::List(_)) => "a list".into(),
            Some(Node::Dict(_)) => "a dict".into(),
            Some(Node::Global { .. }) => format!("the name {}", self.qualified(value)),
            Some(Node::Persistent(_)) => "a reference to a storage".into(),
            Some(Node::Object(object)) => format!("an object of {}", self.qualified(object.callable)),
            None => "nothing".into(),
        }
    }

    /// `module.name`, shortened and free of control characters.
    pub(super) fn qualified(&self, global: Value) -> String {
        self.global(global).map_or("an unnamed class".into(), |(module, name)| shown(&format!("{module}.{name}")))
    }
}

/// Text of a file as it may stand in a message: at most 80 characters, none of them a control character.
pub(in crate::refine) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    if short.len() < text.len() && text.chars().nth(80).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::super::pickle;
    use super::*;

    #[test]
    fn dicts_of_both_pythons_have_entries() {
        let both = [&b"}(U\x01aK\x01U\x01aK\x02u."[..], b"ccollections\nOrderedDict\n](](U\x01aK\x02ee\x85R."];
        for bytes in both {
            let (tree, _) = pickle::read(bytes).expect("pickle");
            assert_eq!(tree.get(tree.root, "a"), Some(Value::Int(2)), "the last entry of {bytes:?}");
            assert_eq!(tree.get(tree.root, "b"), None, "no such entry");
        }
        let (tree, _) = pickle::read(b"](K\x01e.").expect("pickle");
        assert!(tree.entries(tree.root).is_none(), "a list has none");
    }

    #[test]
    fn classes_kept_with_their_source_have_a_name() {
        let (tree, _) = pickle::read(b"(U\x06modulecvdsr\nNet\nU\x01fU\x01stQ.").expect("pickle");
        assert_eq!(tree.global(tree.root), Some(("vdsr", "Net")), "the class");
    }

    #[test]
    fn foreign_text_is_tamed_for_messages() {
        assert_eq!(shown("a\nb\u{1b}"), "a?b?", "control characters");
        assert_eq!(shown(&"x".repeat(81)), "x".repeat(80) + "...", "long text");
        assert_eq!(shown(&"\u{e9}".repeat(80)), "\u{e9}".repeat(80), "80 characters, more bytes");
    }
}
